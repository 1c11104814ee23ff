from langchain.globals import set_debug

set_debug(True)  # hit: prompt-logging
