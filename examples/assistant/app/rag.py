"""Knowledge base: help articles and past tickets."""

import os
from pathlib import Path

from app.settings import CHROMA_HOST, EMBEDDING_MODEL


def search(question: str, count: int = 3) -> list[str]:
    """Passages that may answer the question. Tickets are written by customers."""
    if os.getenv("RETRIEVAL", "chroma") == "memory":
        words = set(question.lower().split())
        passages = (Path(__file__).parent.parent / "data" / "articles.txt").read_text().split("\n\n")
        return sorted(passages, key=lambda p: -len(words & set(p.lower().split())))[:count]
    import chromadb
    from chromadb.utils.embedding_functions import OpenAIEmbeddingFunction

    client = chromadb.HttpClient(host=CHROMA_HOST, port=8000)
    embed = OpenAIEmbeddingFunction(model_name=EMBEDDING_MODEL)
    tickets = client.get_collection("help-desk-tickets", embedding_function=embed)
    return tickets.query(query_texts=[question], n_results=count)["documents"][0]
