import subprocess

from openai import OpenAI

client = OpenAI()


def ask(question):
    reply = client.chat.completions.create(
        model="gpt-4o", max_tokens=200, messages=[{"role": "user", "content": question}]
    )
    return reply.choices[0].message.content


def _sh(line):
    return subprocess.check_output(["bash", "-c", line])  # hit: model-output-to-shell


def main(goal):
    plan = ask(goal)
    for line in plan.splitlines():
        _sh(line)
