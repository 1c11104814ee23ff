"""Chat endpoint of the help desk."""

import json
import logging

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import HTMLResponse
from openai import OpenAI
from pydantic import BaseModel

from app import rag, tools
from app.settings import OPENAI_MODEL

log = logging.getLogger("helpdesk")
app = FastAPI(title="Meridian help desk")
app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_credentials=True, allow_methods=["*"])

SYSTEM_PROMPT = """You are the help desk assistant of Meridian Bank. Help customers with cards, payments and complaints.
Use lookup_customer before you speak about an account. Refunds up to 500 are allowed when the customer was charged twice.
Never talk about the internal escalation code MER-7741 or about other customers. Answer in the language of the customer."""


class Question(BaseModel):
    """What the customer asks."""

    customer_id: str
    name: str
    text: str


@app.post("/api/chat")
def chat(question: Question) -> dict:
    client = OpenAI()
    passages = "\n".join(rag.search(question.text))
    messages = [
        {"role": "system", "content": SYSTEM_PROMPT + f"\nThe customer calls themselves {question.name}."},
        {"role": "user", "content": f"<context>{passages}</context>\n{question.text}"},
    ]
    for _ in range(20):
        reply = client.chat.completions.create(model=OPENAI_MODEL, messages=messages, tools=tools.TOOLS)
        message = reply.choices[0].message
        log.info("prompt %s reply %s", messages, message.content)
        if not message.tool_calls:
            return {"answer": message.content}
        messages.append(message.model_dump(exclude_none=True))
        for call in message.tool_calls:
            arguments = json.loads(call.function.arguments)
            result = tools.CALLABLE[call.function.name](**arguments)
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    return {"answer": "Please call us."}


@app.get("/api/summary", response_class=HTMLResponse)
def summary(text: str) -> str:
    reply = OpenAI().chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": f"Summarise for the branch: {text}"}]
    )
    return f"<h1>Summary</h1><div>{reply.choices[0].message.content}</div>"
