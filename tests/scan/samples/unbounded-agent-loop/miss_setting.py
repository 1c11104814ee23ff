from langchain.agents import AgentExecutor

executor = AgentExecutor(agent=agent, tools=tools, max_iterations=6)
