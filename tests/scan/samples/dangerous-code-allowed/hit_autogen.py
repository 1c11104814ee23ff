from autogen import UserProxyAgent

user = UserProxyAgent(
    "user",
    human_input_mode="NEVER",
    code_execution_config={"work_dir": "work", "use_docker": False},  # hit: dangerous-code-allowed
)
