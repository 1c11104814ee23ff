import datetime

import anthropic

claude = anthropic.Anthropic()


def answer(user_message, language="en"):
    today = datetime.date.today().isoformat()
    return claude.messages.create(
        model="claude-sonnet-4-5",
        max_tokens=100,
        system=f"You help with invoices. Today is {today}. Answer in {language}.",
        messages=[{"role": "user", "content": user_message}],
    )
