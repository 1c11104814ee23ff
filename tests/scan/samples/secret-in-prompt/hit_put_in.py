import os

import anthropic

claude = anthropic.Anthropic()
DB_PASSWORD = os.environ["DB_PASSWORD"]


def answer(question):
    return claude.messages.create(
        model="claude-sonnet-4-5",
        max_tokens=100,
        system=f"Connect as reader with {DB_PASSWORD} when asked.",  # hit: secret-in-prompt
        messages=[{"role": "user", "content": question}],
    )
