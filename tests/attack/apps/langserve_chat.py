"""A chain of LangChain behind LangServe's HTTP interface; the model behind it is whatever OPENAI_BASE_URL names. `python langserve_chat.py PORT`, with the instructions in DESK_SYSTEM."""

import os
import sys

import uvicorn
from fastapi import FastAPI
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI
from langserve import add_routes

prompt = ChatPromptTemplate.from_messages([("system", "{system}"), ("user", "{text}")]).partial(
    system=os.environ["DESK_SYSTEM"]
)
app = FastAPI()
add_routes(app, prompt | ChatOpenAI(model="m") | StrOutputParser(), path="/desk")
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error")
