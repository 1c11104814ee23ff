from sentence_transformers import SentenceTransformer
from transformers import AutoTokenizer, pipeline

tokenizer = AutoTokenizer.from_pretrained("acme/chat")  # hit: unpinned-model
encoder = SentenceTransformer("sentence-transformers/all-MiniLM-L6-v2")  # hit: unpinned-model
classify = pipeline("text-classification", model="acme/tone", revision="main")  # hit: unpinned-model
