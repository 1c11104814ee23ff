def evaluate(expression):
    return eval(expression)  # hit: model-output-to-eval
