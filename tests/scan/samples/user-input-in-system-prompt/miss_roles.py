from flask import Flask, request
from openai import OpenAI

app = Flask(__name__)
client = OpenAI()


@app.post("/chat")
@login_required
@limiter.limit("5/minute")
def chat():
    messages = [
        {"role": "system", "content": "You are a support agent."},
        {"role": "user", "content": f"The customer wants: {request.json['topic']}"},
    ]
    reply = client.chat.completions.create(model="gpt-4o", max_tokens=50, messages=messages)
    return {"text": reply.choices[0].message.content}
