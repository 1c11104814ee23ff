from flask import Flask, request
from openai import OpenAI

app = Flask(__name__)
client = OpenAI()


@app.post("/chat")
@login_required
@limiter.limit("5/minute")
def chat():
    topic = request.json["topic"]
    messages = [
        {"role": "system", "content": f"You are a support agent. The customer wants: {topic}"},  # hit: user-input-in-system-prompt
        {"role": "user", "content": "go"},
    ]
    reply = client.chat.completions.create(model="gpt-4o", max_tokens=50, messages=messages)
    return {"text": reply.choices[0].message.content}
