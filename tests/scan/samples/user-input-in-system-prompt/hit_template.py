from langchain_core.prompts import ChatPromptTemplate

PROMPT = ChatPromptTemplate.from_messages(
    [
        ("system", "Answer politely. The request is: {user_input}"),  # hit: user-input-in-system-prompt
        ("human", "Go on."),
    ]
)
