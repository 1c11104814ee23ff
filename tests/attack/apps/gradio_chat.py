"""A chat made with Gradio, its own HTTP interface; the model behind it is whatever OPENAI_BASE_URL names. `python gradio_chat.py PORT`, with the instructions in DESK_SYSTEM."""

import os
import sys

import gradio
from openai import OpenAI

SYSTEM = os.environ["DESK_SYSTEM"]


def answer(message, history):
    said = [{"role": one["role"], "content": str(one["content"])} for one in history]
    messages = [{"role": "system", "content": SYSTEM}, *said, {"role": "user", "content": message}]
    return OpenAI().chat.completions.create(model="m", messages=messages).choices[0].message.content


gradio.ChatInterface(answer, api_name="chat").launch(server_name="127.0.0.1", server_port=int(sys.argv[1]), quiet=True)
