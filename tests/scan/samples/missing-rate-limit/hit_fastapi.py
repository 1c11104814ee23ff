from fastapi import Depends, FastAPI
from openai import OpenAI

app = FastAPI(dependencies=[Depends(verify_token)])
client = OpenAI()


@app.post("/chat")  # hit: missing-rate-limit
def chat(question: str):
    reply = client.chat.completions.create(
        model="gpt-4o", max_tokens=50, messages=[{"role": "user", "content": question}]
    )
    return {"text": reply.choices[0].message.content}
