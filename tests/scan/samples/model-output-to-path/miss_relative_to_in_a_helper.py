from pathlib import Path

from openai import OpenAI

client = OpenAI()


def ask(question):
    reply = client.chat.completions.create(
        model="gpt-4o", max_tokens=200, messages=[{"role": "user", "content": question}]
    )
    return reply.choices[0].message.content


class Files:
    def __init__(self, root):
        self.root = root

    def _inside(self, name):
        resolved = self.root / name
        try:
            resolved.resolve().relative_to(self.root.resolve())
        except ValueError:
            raise PermissionError(name)
        return resolved

    def show(self, question):
        path = self._inside(ask(question))
        return path.read_text()


print(Files(Path("docs")).show("x"))
