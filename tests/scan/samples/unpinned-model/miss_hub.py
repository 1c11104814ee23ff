from sentence_transformers import SentenceTransformer
from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("acme/chat", revision="8f3a2c1d9e7b6a5f4c3d2e1f0a9b8c7d6e5f4a3b")
local = AutoTokenizer.from_pretrained("./models/chat")
encoder = SentenceTransformer("/models/encoder")
