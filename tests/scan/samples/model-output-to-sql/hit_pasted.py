from sqlalchemy import create_engine, text

from openai import OpenAI

client = OpenAI()


def ask(question):
    reply = client.chat.completions.create(
        model="gpt-4o", max_tokens=200, messages=[{"role": "user", "content": question}]
    )
    return reply.choices[0].message.content


engine = create_engine("sqlite://")


def find(question):
    name = ask(question)
    with engine.connect() as connection:
        return connection.execute(text("SELECT * FROM users WHERE name = '" + name + "'"))  # hit: model-output-to-sql
