import sqlite3

from openai import OpenAI

client = OpenAI()


def ask(question):
    reply = client.chat.completions.create(
        model="gpt-4o", max_tokens=200, messages=[{"role": "user", "content": question}]
    )
    return reply.choices[0].message.content


def answer(question):
    statement = ask(f"Translate into SQL: {question}")
    with sqlite3.connect("shop.db") as connection:
        cursor = connection.cursor()
        cursor.execute(statement)  # hit: model-output-to-sql
        return cursor.fetchall()
