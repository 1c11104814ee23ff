from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI

prompt = ChatPromptTemplate.from_messages([("system", "Write code."), ("human", "{task}")])
chain = prompt | ChatOpenAI(model="gpt-4o", max_tokens=300)


def solve(task):
    produced = chain.invoke({"task": task}).content
    block = produced.split("```")[1]
    exec(block)  # hit: model-output-to-eval
