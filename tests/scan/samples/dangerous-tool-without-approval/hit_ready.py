from langchain_community.tools import ShellTool

tools = [ShellTool()]  # hit: dangerous-tool-without-approval
