import subprocess

from openai import OpenAI

client = OpenAI()


def ask(question):
    reply = client.chat.completions.create(
        model="gpt-4o", max_tokens=200, messages=[{"role": "user", "content": question}]
    )
    return reply.choices[0].message.content


COMMANDS = {"status": ["git", "status"], "log": ["git", "log"]}


def act(question):
    name = ask(question).strip()
    if name in COMMANDS:
        subprocess.run(COMMANDS[name])


def other(question):
    choice = ask(question)
    subprocess.run(COMMANDS.get(choice, ["true"]))
