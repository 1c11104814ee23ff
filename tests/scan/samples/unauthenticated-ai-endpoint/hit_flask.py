from flask import Flask, request
from flask_limiter import Limiter
from langchain_openai import ChatOpenAI

app = Flask(__name__)
limiter = Limiter(app, default_limits=["5 per minute"])
llm = ChatOpenAI(model="gpt-4o", max_tokens=50)


def answer(question):
    return llm.invoke(question).content


@app.route("/ask", methods=["POST"])  # hit: unauthenticated-ai-endpoint
def ask():
    return {"text": answer(request.json["question"])}
