import json
import os

from openai import OpenAI

client = OpenAI()
SPEC = []


def ask(question):
    reply = client.chat.completions.create(
        model="gpt-4o", max_tokens=200, tools=SPEC, messages=[{"role": "user", "content": question}]
    )
    return reply.choices[0].message.content


def step(messages):
    reply = client.chat.completions.create(model="gpt-4o", max_tokens=100, tools=SPEC, messages=messages)
    for call in reply.choices[0].message.tool_calls:
        arguments = json.loads(call.function.arguments)
        os.system(f"git {arguments['verb']}")  # hit: model-output-to-shell
