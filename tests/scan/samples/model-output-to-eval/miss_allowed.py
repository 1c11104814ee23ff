from openai import OpenAI

client = OpenAI()


def ask(question):
    reply = client.chat.completions.create(
        model="gpt-4o", max_tokens=200, messages=[{"role": "user", "content": question}]
    )
    return reply.choices[0].message.content


ALLOWED = {"add": "1 + 1", "double": "2 * 2"}


def compute(question):
    name = ask(question)
    if name not in ALLOWED:
        raise ValueError("unknown operation")
    return eval(ALLOWED[name])


def number(question):
    return eval(str(float(ask(question))) + " * 2")
