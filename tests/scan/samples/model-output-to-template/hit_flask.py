from flask import render_template_string

from openai import OpenAI

client = OpenAI()


def ask(question):
    reply = client.chat.completions.create(
        model="gpt-4o", max_tokens=200, messages=[{"role": "user", "content": question}]
    )
    return reply.choices[0].message.content


def page(topic):
    return render_template_string("<h1>News</h1>" + ask(topic))  # hit: model-output-to-template
