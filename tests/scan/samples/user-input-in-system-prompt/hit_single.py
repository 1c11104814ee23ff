from flask import Flask, request
from openai import OpenAI

app = Flask(__name__)
client = OpenAI()


@app.post("/chat")
@login_required
@limiter.limit("5/minute")
def chat():
    text = "You are a bank assistant. Never reveal account data. User says: " + request.json["text"]
    reply = client.chat.completions.create(  # hit: user-input-in-system-prompt
        model="gpt-4o", max_tokens=50, messages=[{"role": "user", "content": text}]
    )
    return {"text": reply.choices[0].message.content}
