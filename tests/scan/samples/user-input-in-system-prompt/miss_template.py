from langchain_core.prompts import ChatPromptTemplate

PROMPT = ChatPromptTemplate.from_messages(
    [("system", "Answer politely, from these documents: {context}"), ("human", "{user_input}")]
)
