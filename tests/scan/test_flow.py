"""Value flow on its own: origins, what cleans them, and what other files know."""

from __future__ import annotations

import pytest

from afterguard.code.parse import parse
from afterguard.model import Source
from afterguard.scan.flow import Flow
from afterguard.scan.follower import follow
from afterguard.scan.recognise import cleans, fold, is_ai_package, is_model_call
from afterguard.scan.snippet import LIMIT, shown
from afterguard.scan.summary import known_elsewhere, summarise

ASK = """
from openai import OpenAI

client = OpenAI()


def ask(q):
    return client.chat.completions.create(model="m", messages=[q]).choices[0].message.content

"""


def flow_of(text: str, path: str = "a.py", kind: str = "python") -> Flow:
    parsed = parse(Source(path, text.encode(), kind, len(text)))
    return follow(parsed.module, text.split("\n"))


def reaches(body: str, sink: str = "eval") -> bool:
    flow = flow_of(ASK + "\n" + body)
    seen = next(one for one in flow.calls if one.folded == "sink")
    return flow.tainted(seen.args[0], sink) is not None


@pytest.mark.parametrize(
    "body",
    [
        "sink(ask('x'))",
        "a = ask('x')\nb = a.strip()\nsink(f'{b}!')",
        "a = {'k': ask('x')}\nsink(a['k'])",
        "a = []\na.append(ask('x'))\nsink(''.join(a))",
        "import json\nsink(json.loads(ask('x'))['command'])",
        "def f(v):\n    return v + '!'\nsink(f(ask('x')))",
        "def f(v):\n    sink(v)\nf(ask('x'))",
        "for part in ask('x').splitlines():\n    sink(part)",
        "class A:\n    def one(self):\n        self.v = ask('x')\n    def two(self):\n        sink(self.v)",
        "def outer():\n    v = ask('x')\n    def inner():\n        sink(v)\n    inner()",
        "import shlex\nsink(shlex.quote(ask('x')))",
    ],
)
def test_a_reply_reaches(body: str) -> None:
    assert reaches(body)


@pytest.mark.parametrize(
    "body",
    [
        "a = ask('x')\na = 'fixed'\nsink(a)",
        "sink(int(ask('x')))",
        "sink(len(ask('x')))",
        "def f(v):\n    return 'fixed'\nsink(f(ask('x')))",
        "OK = {'a'}\na = ask('x')\nif a not in OK:\n    raise ValueError\nsink(a)",
        "TABLE = {'a': 1}\nsink(TABLE[ask('x')])",
        "TABLE = {'a': 1}\nsink(TABLE.get(ask('x'), 'none'))",
        "import re\na = ask('x')\nif not re.fullmatch('[a-z]+', a):\n    raise ValueError\nsink(a)",
        "response = fetch_rows()\nsink(response)",
        "r = client.chat.completions.create(model='m', messages=[])\nsink(r.usage.total_tokens)",
    ],
)
def test_what_is_no_reply_or_was_made_safe_does_not(body: str) -> None:
    assert not reaches(body)


def test_a_sanitiser_helps_only_against_its_own_sink() -> None:
    body = "import shlex\nsink('ls ' + shlex.quote(ask('x')))"
    assert not reaches(body, "shell")
    assert reaches(body, "sql")


def test_results_and_parameters_cross_files() -> None:
    asks = parse(Source("llm.py", ASK.encode(), "python", len(ASK)))
    main = "from llm import ask\nfrom run import act\n\n\ndef go():\n    act(ask('x'))\n"
    act = "def act(command):\n    sink(command)\n"
    parsed = [asks, *(parse(Source(p, t.encode(), "python", len(t))) for p, t in (("main.py", main), ("run.py", act)))]
    external = known_elsewhere([summarise(one) for one in parsed])
    flow = follow(parsed[2].module, act.split("\n"), external)
    seen = next(one for one in flow.calls if one.folded == "sink")
    origin = flow.tainted(seen.args[0], "eval")
    assert origin is not None and origin.kind == "model"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("openai.OpenAI", True), ("@langchain/openai.ChatOpenAI", True), ("dev.langchain4j.model.chat.ChatModel", True),
        ("github.com/sashabaranov/go-openai.NewClient", True), ("aiohttp.ClientSession", False), ("airflow.DAG", False),
        ("openaikit.Thing", False), ("agentsmith.x", False), ("twilio.rest.Client", False),
    ],
)  # fmt: skip
def test_packages_are_told_on_boundaries(name: str, expected: bool) -> None:
    assert is_ai_package(name) is expected


def test_names_fold_over_languages() -> None:
    assert fold("client.chat().completions().create") == fold("client.chat.completions.create")
    assert fold("model.generate_content") == fold("model.generateContent")
    assert is_model_call("twilio.rest.Client().messages.create", False, False, []) is False
    assert is_model_call("requests.post", False, False, ["https://api.openai.com/v1/chat/completions"])
    assert not is_model_call("requests.post", False, False, ["https://example.com/"])
    assert cleans("model_validate_json") == frozenset()


def test_snippets_are_short_and_plain() -> None:
    assert len(shown("x" * 5_000)) == LIMIT
    assert "ada@" not in shown("mail ada.lovelace@example.org now")
    assert "\x1b" not in shown("a\x1b[31mb\u202e")
    assert (
        shown("result = client.chat.completions.create(model=name)")
        == "result = client.chat.completions.create(model=name)"
    )
