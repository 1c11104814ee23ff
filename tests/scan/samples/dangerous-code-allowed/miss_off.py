from autogen import UserProxyAgent
from langchain_experimental.agents import create_pandas_dataframe_agent

agent = create_pandas_dataframe_agent(model, frame, allow_dangerous_code=False)
user = UserProxyAgent("user", human_input_mode="ALWAYS", code_execution_config={"work_dir": "work", "use_docker": True})
