from llm import ask


def main():
    eval(ask("one plus one"))  # hit: model-output-to-eval
