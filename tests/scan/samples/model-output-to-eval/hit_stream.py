import anthropic

claude = anthropic.Anthropic()


class Analyst:
    def __init__(self):
        self.code = ""

    def think(self, task):
        message = claude.messages.create(
            model="claude-sonnet-4-5", max_tokens=800, messages=[{"role": "user", "content": task}]
        )
        self.code = message.content[0].text

    def act(self, frame):
        scope = {"frame": frame}
        exec(self.code, scope)  # hit: model-output-to-eval
        return scope
