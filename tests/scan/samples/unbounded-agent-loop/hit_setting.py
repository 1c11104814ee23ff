from langchain.agents import AgentExecutor

executor = AgentExecutor(agent=agent, tools=tools, max_iterations=None)  # hit: unbounded-agent-loop
