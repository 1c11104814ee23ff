import requests


def plan(goal):
    answer = requests.post(
        "https://api.openai.com/v1/chat/completions",
        json={"model": "gpt-4o", "max_tokens": 100, "messages": [{"role": "user", "content": goal}]},
        timeout=30,
    ).json()
    text = answer["choices"][0]["message"]["content"]
    exec(compile(text, "plan", "exec"))  # hit: model-output-to-eval
