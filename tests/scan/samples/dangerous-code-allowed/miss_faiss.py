from langchain_community.vectorstores import FAISS

store = FAISS.from_documents(documents, embeddings)
store.save_local("index")
