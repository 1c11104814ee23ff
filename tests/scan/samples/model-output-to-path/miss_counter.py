import json

from openai import OpenAI

client = OpenAI()


def keep(question):
    reply = client.chat.completions.create(
        model="gpt-4o-2024-08-06", max_tokens=90, messages=[{"role": "user", "content": question}]
    )
    for number, part in enumerate(json.loads(reply.choices[0].message.content)):
        with open(f"/srv/out/{number}.txt", "w") as held:
            held.write(part)
