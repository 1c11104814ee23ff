from openai import OpenAI

client = OpenAI()


def ask(question):
    reply = client.chat.completions.create(
        model="gpt-4o", max_tokens=200, messages=[{"role": "user", "content": question}]
    )
    return reply.choices[0].message.content


def compute(question):
    formula = ask("Write a Python expression for: " + question).strip()
    return eval(formula, {"__builtins__": {}})  # hit: model-output-to-eval
