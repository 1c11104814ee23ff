from langchain_experimental.utilities import PythonREPL

repl = PythonREPL()  # hit: dangerous-code-allowed
