from openai import OpenAI

client = OpenAI()


def ask(question):
    reply = client.chat.completions.create(  # hit: missing-output-limit
        model="gpt-4o", messages=[{"role": "user", "content": question}]
    )
    return reply.choices[0].message.content
