import anthropic

claude = anthropic.Anthropic()
RULES = "You help with invoices. Never discuss anything else. "


def answer(user_message):
    return claude.messages.create(
        model="claude-sonnet-4-5",
        max_tokens=100,
        system=RULES + user_message,  # hit: user-input-in-system-prompt
        messages=[{"role": "user", "content": "Please help."}],
    )
