from jinja2 import Template

from openai import OpenAI

client = OpenAI()


def ask(question):
    reply = client.chat.completions.create(
        model="gpt-4o", max_tokens=200, messages=[{"role": "user", "content": question}]
    )
    return reply.choices[0].message.content


def letter(topic):
    body = ask(topic)
    return Template(body).render(name="Ada")  # hit: model-output-to-template
