from openai import OpenAI

client = OpenAI()


def ask(question):
    reply = client.chat.completions.create(
        model="gpt-4o", max_tokens=200, messages=[{"role": "user", "content": question}]
    )
    return reply.choices[0].message.content


def work(goal):
    messages = [goal]
    steps = 0
    while True:
        answer = ask(messages)
        steps += 1
        if answer == "done" or steps >= 8:
            break
        messages.append(answer)


def more(goal):
    for _ in range(5):
        goal = ask(goal)
