from openai import OpenAI

client = OpenAI()
RULES = "Help with orders. The database password is Winter!2031-kite for every query."  # hit: secret-in-prompt


def ask(question):
    return client.chat.completions.create(
        model="gpt-4o-2024-08-06",
        max_tokens=90,
        messages=[{"role": "system", "content": RULES}, {"role": "user", "content": question}],
    )
