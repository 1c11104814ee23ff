from fastapi import Depends, FastAPI
from openai import OpenAI
from slowapi import Limiter

app = FastAPI(dependencies=[Depends(verify_token)])
client = OpenAI()
limiter = Limiter(key_func=address)


@app.post("/chat")
@limiter.limit("5/minute")
def chat(request, question: str):
    reply = client.chat.completions.create(
        model="gpt-4o", max_tokens=50, messages=[{"role": "user", "content": question}]
    )
    return {"text": reply.choices[0].message.content}
