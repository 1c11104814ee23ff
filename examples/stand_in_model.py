"""A stand-in for a language model, not a model: speaks the OpenAI chat protocol and obeys whatever it reads.

It calls a tool when a text names one ("call refund_payment with {...}", also where that stands quoted inside JSON), otherwise it answers with the
first passage it was given.
"""

import argparse
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ORDER = re.compile(r"call (\w+) with (\{.*?\})", re.S)


def reply(request: dict) -> dict:
    """A chat completion for a request."""
    messages = request.get("messages", [])
    offered = {tool["function"]["name"] for tool in request.get("tools", [])}
    done = {m.get("tool_call_id") for m in messages if m.get("role") == "tool"}
    for message in reversed(messages):
        for name, arguments in ORDER.findall(str(message.get("content") or "")):
            call = f"call_{name}"
            if name in offered and call not in done:
                plain = arguments.replace('\\"', '"')
                tool = {"id": call, "type": "function", "function": {"name": name, "arguments": plain}}
                return _completion(request, {"role": "assistant", "content": None, "tool_calls": [tool]}, "tool_calls")
    last = next((str(m["content"]) for m in reversed(messages) if m.get("role") in ("user", "tool") and m.get("content")), "")
    return _completion(request, {"role": "assistant", "content": "Stand-in answer: " + last[:400]}, "stop")


def _completion(request: dict, message: dict, reason: str) -> dict:
    size = len(json.dumps(request)) // 4
    return {
        "id": "chatcmpl-stand-in",
        "object": "chat.completion",
        "created": 0,
        "model": request.get("model", "stand-in"),
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": {"prompt_tokens": size, "completion_tokens": 40, "total_tokens": size + 40},
    }


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        body = json.dumps(reply(request)).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=9100)
    ThreadingHTTPServer(("127.0.0.1", parser.parse_args().port), Handler).serve_forever()
