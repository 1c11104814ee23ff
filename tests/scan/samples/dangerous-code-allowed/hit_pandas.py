from langchain_experimental.agents import create_pandas_dataframe_agent
from langchain_openai import ChatOpenAI

agent = create_pandas_dataframe_agent(
    ChatOpenAI(model="gpt-4o"),
    frame,
    allow_dangerous_code=True,  # hit: dangerous-code-allowed
)
