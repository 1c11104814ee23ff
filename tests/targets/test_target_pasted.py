"""A pasted request becomes a target file that sends the same again, with another prompt and without its secrets."""

from __future__ import annotations

import base64
import json
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.attack.contract import Prompt
from afterguard.errors import UsageError
from afterguard.targets.document import Target
from afterguard.targets.draft import Draft, draft
from afterguard.targets.load import load
from afterguard.targets.pasted import read
from afterguard.targets.talking import Talking

servers: Any = sys.modules["targets_servers"]
ASKED = "When are you open?"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
RAW = f"""POST /api/chat?lang=en&access_token=tok-1234 HTTP/1.1
Host: shop.example
User-Agent: Browser/1.0
Accept: application/json
Authorization: Bearer {TOKEN}
Cookie: sid=abcdefgh12345678; theme=dark
X-CSRF-Token: csrf-99-value
Origin: https://shop.example
Referer: https://shop.example/chat?ticket=very-private
Content-Type: application/json
Content-Length: 999

{{"message": {{"text": "{ASKED}", "lang": "en"}}, "sessionId": "s-42-42", "stream": false, "n": 1}}
"""
SECRETS = (TOKEN, "tok-1234", "abcdefgh12345678", "csrf-99-value", "s-42-42", "very-private")


def drafted(text: str, prompt: str = ASKED, reply: str = "") -> Draft:
    return draft(read(text, "paste.txt", prompt), prompt, reply, "shop", "paste.txt")


def loaded(made: Draft, **values: str) -> Target:
    return load(made.text, "T.yaml", dict.fromkeys(made.variables, "x") | values)


def har(request: dict[str, Any], reply: str = "", kind: str = "application/json", packed: bool = False) -> str:
    content = {"mimeType": kind, "text": base64.b64encode(reply.encode()).decode() if packed else reply}
    content |= {"encoding": "base64"} if packed else {}
    entry = {"request": request, "response": {"status": 200, "content": content}}
    other = {"request": {"method": "GET", "url": "https://shop.example/logo.png", "headers": []}, "response": {}}
    return json.dumps({"log": {"version": "1.2", "entries": [other, entry]}}, indent=1)


def post(url: str = "https://shop.example/ask", **more: Any) -> dict[str, Any]:
    body = json.dumps({"q": ASKED})
    return {"method": "POST", "url": url, "headers": [{"name": "Content-Type", "value": "application/json"}], "postData": {"mimeType": "application/json", "text": body}} | more  # fmt: skip


def test_a_raw_request() -> None:
    made = drafted(RAW)
    for secret in SECRETS:
        assert secret not in made.text, secret
    assert set(made.variables) == {"AUTHORIZATION", "COOKIE", "X_CSRF_TOKEN", "ACCESS_TOKEN", "SESSIONID"}
    found = loaded(made, AUTHORIZATION="a", SESSIONID="s")
    assert found.url == "https://shop.example/api/chat" and found.template
    assert found.template.body == {
        "message": {"text": "{{prompt}}", "lang": "en"},
        "sessionId": "s",
        "stream": False,
        "n": 1,
    }
    assert found.headers["authorization"] == "Bearer a" and found.headers["referer"] == "https://shop.example/"
    assert found.template.query == {"lang": "en", "access_token": "x"}
    assert "content-length" not in found.headers and "user-agent" not in found.headers
    assert "at .message.text" in made.notes[0] and "guess" in made.notes[1]


def test_what_it_makes_talks_to_the_application() -> None:
    def answer(asked: Any) -> Any:
        found = parse_qs(asked.body.decode())
        return servers.Answer(json.dumps({"data": [{"out": f"you said {found['q'][0]}"}]}).encode())

    with servers.application(answer) as (url, seen):
        request = {
            "method": "POST", "url": f"{url}/ask?v=2", "headers": [{"name": "X-Api-Key", "value": "sk-hidden-1"}],
            "postData": {"mimeType": "application/x-www-form-urlencoded", "params": [{"name": "q", "value": ASKED}, {"name": "a", "value": "1"}]},
        }  # fmt: skip
        made = drafted(har(request, '{"data": [{"out": "you said it"}]}', packed=True), reply="said it")
        assert "sk-hidden" not in made.text
        found = Talking(loaded(made, X_API_KEY="k"), "run").ask(Prompt("a&b=c", is_new=True))
    assert found.text == "you said a&b=c"
    assert seen[0].path == "/ask?v=2" and seen[0].headers["x-api-key"] == "k"


def test_the_path_of_the_reply() -> None:
    assert "reply: .a.b\n" in drafted(
        har(post(), '{"id": "x", "a": {"b": "from nine to five"}}'), reply="nine"
    ).text.replace('"', "")
    stream = (
        "".join(f"data: {json.dumps({'delta': piece})}\n\n" for piece in ("from ni", "ne to ", "five"))
        + "data: [DONE]\n\n"
    )
    text = drafted(har(post(), stream, "text/event-stream"), reply="nine to five").text.replace('"', "")
    assert "stream: .delta" in text and "reply: .delta" in text
    assert 'reply: ""' in drafted(har(post(), "<p>nine</p>", "text/html"), reply="nine").text


def test_one_entry_a_path_and_a_get() -> None:
    entry = {
        "request": {
            "method": "GET",
            "url": f"https://h.example/u/0123456789abcdef0123456789abcdef/ask?q={quote_plus(ASKED)}",
            "headers": [],
        }
    }
    made = drafted(json.dumps(entry))
    assert "0123456789abcdef" not in made.text and "${PATH}" in made.text
    found = loaded(made)
    assert found.template and found.template.method == "GET" and found.template.query == {"q": "{{prompt}}"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"), ("curl https://h/ -d x", "paste.txt:1: a curl command"), ("hello\n\nx", "paste.txt:1: no first line"),
        ("POST / HTTP/1.1\nHost: h\nrubbish line\n\nx", "paste.txt:3: no header"), (f"POST /x HTTP/1.1\nA: b\n\n{ASKED}", "no address"),
        ("POST / HTTP/1.1\nHost: h\n\n{\"a\": \"b\"}", "no field of the request holds"), ('{"log": {"entries": []}}', "no HAR"),
        ('{"a":\n\n oops}', "paste.txt:3: neither JSON"), (har(post(postData={"text": "{}"})), "none of its 2 requests"),
        (RAW.replace("application/json\nContent-L", "multipart/form-data; boundary=x\nContent-L"), "multipart"),
        (RAW.replace('"message"', '"message'), "the body is no JSON"), (RAW.replace("POST", "DELETE"), "a request with DELETE"),
        (RAW.replace("Host: shop.example", "Host: ["), "no address"),
        (f'POST / HTTP/1.1\nHost: h\n\n{json.dumps({"a": json.dumps({"b": ASKED})})}', "JSON that is a text itself"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_line(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=re.escape(says)) as told:
        drafted(text)
    assert told.value.hint and not any(secret in str(told.value) + told.value.hint for secret in SECRETS)


def test_a_reply_that_is_not_there() -> None:
    with pytest.raises(UsageError, match="no reply to look"):
        drafted(RAW, reply="nine")
    with pytest.raises(UsageError, match="no field of the reply") as told:
        drafted(har(post(), '{"a": {"b": "ten"}}'), reply="nine")
    assert told.value.hint == "fields with text: .a.b"


words = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)
values = st.recursive(st.none() | st.booleans() | st.integers(-(10**12), 10**12) | words, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcxyz_-", min_size=1, max_size=6), inner, max_size=3), max_leaves=8)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(values, st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=24, max_size=60))
def test_any_body_comes_back_as_it_was_and_no_secret_is_written_down(value: Any, secret: str) -> None:
    body = {"text": ASKED, "other": value, "apiKey": secret}
    text = f"POST /x HTTP/1.1\nHost: h.example\nX-Auth: {secret}\nContent-Type: application/json\n\n{json.dumps(body)}"
    try:
        made = drafted(text)
        found = load(made.text, "T.yaml", dict.fromkeys(made.variables, secret))
    except UsageError as error:
        assert "{{" in json.dumps(value) or "${" in json.dumps(value) or error.slug == "bad-paste"
        return
    assert secret not in made.text
    assert found.template and found.template.body == body | {"text": "{{prompt}}"}


@settings(max_examples=150, deadline=None)
@given(
    st.text(max_size=200)
    | st.binary(max_size=200).map(lambda data: data.decode("latin-1"))
    | st.builds(lambda v: json.dumps({"log": {"entries": [{"request": v}, v]}}), values)
)
def test_anything_pasted_is_a_draft_or_a_usage_error(text: str) -> None:
    for prompt in ("a", text[:3] or "b"):
        try:
            made = draft(read(text, "p", prompt), prompt, "", "n", "p")
            load(made.text, "T.yaml", dict.fromkeys(made.variables, "x"))
        except UsageError as error:
            assert error.hint


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from afterguard.cli.run import run

    (tmp_path / "r.txt").write_text(RAW)
    assert run(["attack", "template", str(tmp_path / "r.txt"), "--prompt", ASKED, "--name", "shop"]) == 0
    out = capsys.readouterr()
    assert "{{prompt}}" in out.out and "export AUTHORIZATION=..." in out.err
    assert not any(secret in out.out + out.err for secret in SECRETS)
