from openai import OpenAI

client = OpenAI()
OPTIONS = {"model": "gpt-4o", "max_completion_tokens": 300}


def ask(messages):
    return client.chat.completions.create(messages=messages, **OPTIONS)
