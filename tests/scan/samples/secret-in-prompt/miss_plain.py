SYSTEM_PROMPT = """You are the warehouse assistant.
Never ask for a password. The password is never shared. If the API key: is invalid, say so.
"""


def build(max_tokens, token_count):
    prompt = f"Answer in at most {max_tokens} tokens, {token_count} used."
    return prompt
