"""The mapping file: reads what no reader knows, and says where it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from afterguard.errors import UsageError
from afterguard.tap import mapping, read

RULES = """format: afterguard.map/1
records: $.batch[*]
id: meta.rid
time: ts
user: who.account
key: headers["x.key"]
model: engine
texts:
  system: policy
  user: q
  tool: steps[*].out
  assistant: a
tool_name: steps[0].name
"""


def test_reads(tmp_path: Path) -> None:
    (tmp_path / "map.yaml").write_text(RULES)
    (tmp_path / "log.jsonl").write_text(
        '{"batch": [{"meta": {"rid": "r1"}, "ts": 1772438400, "who": {"account": "u"}, "headers": {"x.key": "team"}, "engine": "m", '
        '"policy": "S", "q": "Q", "steps": [{"name": "web_search", "out": "O1"}, {"out": {"k": 2}}], "a": "A"}, {"nothing": 1}]}\n'
    )
    rules = mapping.load(tmp_path / "map.yaml")
    first, second = read(tmp_path / "log.jsonl", "log.jsonl", lambda _: None, mapping=rules)
    assert (first.protocol, first.id, first.time, first.identity, first.key, first.model) == (
        "mapped",
        "r1",
        1772438400.0,
        "u",
        "team",
        "m",
    )
    assert [(t.origin.value, t.trust.value, t.value) for t in first.texts] == [
        ("system", "system", "S"), ("user", "user", "Q"), ("tool", "third_party", "O1"), ("tool", "third_party", '{"k":2}'), ("model", "model", "A")]  # fmt: skip
    assert (
        second.protocol == "unknown" and second.unjudged[0].reason == "unknown_shape" and second.id == "log.jsonl:1#2"
    )


def test_bodies_and_rows(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("a,b,outcome,p\n1,x,yes,0.5\n")
    rules = mapping.parse(b'features: "*"\ndecision: outcome\nscore: p\n', "m.yaml")
    (found,) = read(tmp_path / "log.csv", "log.csv", lambda _: None, mapping=rules)
    assert found.prediction is not None
    assert (found.prediction.features, found.prediction.decision, found.prediction.score) == (
        {"a": 1.0, "b": "x"},
        "yes",
        0.5,
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("mesages: a.b\n", "m.yaml:1: unknown name 'mesages'; did you mean 'messages'?"),
        ("id: x\n\ntexts:\n  systm: a\n", "m.yaml:4: unknown name 'systm'; did you mean 'system'?"),
        ("messages: a[b\n", "m.yaml:1: not a path: 'a[b'"),
        ("messages:\n  - a\n", "not a path"),
        ("id: a\n", "nothing to read"),
        ("format: other/1\nmessages: a\n", "format is afterguard.map/1"),
        ("- a\n", "a mapping is a list of name: path"),
        ("", "a mapping is a list of name: path"),
        ("texts: a\n", "texts holds"),
        ("a: [\n", "m.yaml:"),
    ],
)
def test_wrong(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        mapping.parse(text.encode(), "m.yaml")
    assert says in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        mapping.load(tmp_path / "none.yaml")
