"""Answers that come by ticket, and the list of what a test instance's tools did."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from afterguard.attack.contract import Call, Prompt
from afterguard.attack.trial import ERRORS
from afterguard.errors import UsageError
from afterguard.targets.load import load
from afterguard.targets.talking import Talking

if "targets_servers" not in sys.modules:
    _spec = importlib.util.spec_from_file_location("targets_servers", Path(__file__).with_name("servers.py"))
    assert _spec and _spec.loader
    sys.modules["targets_servers"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["targets_servers"])
servers: Any = sys.modules["targets_servers"]
HEAD = "format: afterguard.target/1\nname: it\nurl: {url}/ask\nkind: template\ntimeout: 5\n"
TICKETS = HEAD + "template: {{body: {{q: '{{{{prompt}}}}'}}, reply: .answer, then: {{url: '/jobs/{{{{ticket}}}}', ticket: .job.id, every: 0.01}}}}\n"  # fmt: skip
AUDIT = HEAD + "template: {{body: {{q: '{{{{prompt}}}}'}}, reply: .answer}}\naudit: {{url: /audit, calls: .done, name: .tool, arguments: .with}}\n"  # fmt: skip


def talking(text: str, url: str) -> Talking:
    return Talking(load(text.format(url=url), "T.yaml", {}), "run")


def test_an_answer_is_fetched_as_soon_as_it_is_there() -> None:
    looks: list[str] = []

    def answer(asked: Any) -> Any:
        if asked.path == "/ask":
            return servers.Answer(json.dumps({"job": {"id": "a/b"}}).encode(), 202)
        looks.append(asked.path)
        return servers.Answer(json.dumps({"state": "working"} if len(looks) < 3 else {"answer": "it is nine"}).encode())

    with servers.application(answer) as (url, seen):
        found = talking(TICKETS, url).ask(Prompt("hours?", is_new=True))
    assert (found.text, found.error, found.requests) == ("it is nine", "", 4)
    assert set(looks) == {"/jobs/a%2Fb"} and [one.method for one in seen] == ["POST", "GET", "GET", "GET"]


@pytest.mark.parametrize(
    ("first", "then", "word"),
    [
        (b'{"job": {}}', b"{}", "unreadable"),
        (b"<html>", b"{}", "unreadable"),
        (b'{"job": {"id": 7}}', b"\xff", "unreadable"),
        (b'{"job": {"id": 7}}', b"", "unreadable"),
    ],
)
def test_a_ticket_that_leads_nowhere(first: bytes, then: bytes, word: str) -> None:
    with servers.application(lambda asked: servers.Answer(first if asked.path == "/ask" else then)) as (url, _):
        found = talking(TICKETS.replace("timeout: 5", "timeout: 0.2"), url).ask(Prompt("a", is_new=True))
    assert found.error == word and word in ERRORS and found.seconds < 2


def test_what_is_new_in_the_list_was_done_in_this_turn() -> None:
    done: list[Any] = [{"tool": "before", "with": {}}]

    def answer(asked: Any) -> Any:
        if asked.path == "/audit":
            return servers.Answer(json.dumps({"done": done}).encode())
        if b"refund" in asked.body:
            done.extend([{"tool": "refund", "with": {"amount": 5}}, {"tool": "note", "with": "text"}])
        return servers.Answer(b'{"answer": "done"}')

    with servers.application(answer) as (url, _):
        one = talking(AUDIT, url)
        first = one.ask(Prompt("hello", is_new=True))
        second = one.ask(Prompt("a refund"))
        assert one.target.aim("s").shows_calls
        done.clear()
        third = one.ask(Prompt("hello", is_new=True))
    assert (first.calls, first.requests) == ((), 3) and third.calls == ()
    assert second.calls == (Call("refund", '{"amount":5}'), Call("note", "text")) and second.requests == 2


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"done": 5}', b"\xff", b'{"done": [5, null, {"tool": {}}]}'])
def test_a_list_that_cannot_be_read_is_no_list_of_nothing(body: bytes) -> None:
    calls = {"/audit": body}
    with servers.application(lambda asked: servers.Answer(calls.get(asked.path, b'{"answer": "x"}'))) as (url, _):
        found = talking(AUDIT, url).ask(Prompt("a", is_new=True))
    assert found.error == ("" if b"null" in body else "unreadable")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (TICKETS.replace("/jobs/{{{{ticket}}}}", "/jobs"), "has no {{ticket}}"),
        (TICKETS.replace("'/jobs/", "'https://other.example/"), "another host"),
        (TICKETS.replace(".job.id", "job"), "no path"),
        (AUDIT.replace("/audit", "https://other.example/audit"), "another host"),
        (AUDIT.replace(".done", "done"), "no path"),
    ],
)
def test_what_is_wrong_is_said(text: str, says: str) -> None:
    with pytest.raises(UsageError) as told:
        load(text.format(url="https://h.example"), "T.yaml", {})
    assert says in str(told.value) and told.value.slug == "bad-target"
