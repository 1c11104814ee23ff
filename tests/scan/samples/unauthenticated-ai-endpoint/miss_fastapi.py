from fastapi import Depends, FastAPI
from openai import OpenAI
from slowapi import Limiter

app = FastAPI()
client = OpenAI()
limiter = Limiter(key_func=address)


@app.post("/chat")
@limiter.limit("5/minute")
def chat(request, question: str, user=Depends(get_current_user)):
    reply = client.chat.completions.create(
        model="gpt-4o", max_tokens=50, messages=[{"role": "user", "content": question}]
    )
    return {"text": reply.choices[0].message.content}


@app.get("/health")
def health():
    return {"ok": True}
