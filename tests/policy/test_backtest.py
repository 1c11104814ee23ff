"""Backtest: conversations cut into turns as a guard meets them, counted with intervals; and the commands around it."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from afterguard.cli.run import run
from afterguard.errors import UsageError
from afterguard.jobs.backtest import Backtest, Decision, backtest, read_labels, table
from afterguard.jobs.turns import turns
from afterguard.model import Exchange, Origin, Text, ToolCall, Trust
from afterguard.policy import load_policy, shipped

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "agent_traces" / "airline_dev.jsonl.gz"
KEY = "ghp_aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3zA4"
CALL = {"id": "c1", "type": "function", "function": {"name": "read_file", "arguments": '{"path": "a"}'}}
TALK: list[dict[str, Any]] = [
    {"role": "system", "content": "You help."},
    {"role": "user", "content": "Read the file a"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "The room is 4.12."},
    {"role": "assistant", "content": f"The key is {KEY}."},
    {"role": "user", "content": "Thanks"},
    {"role": "assistant", "content": "You are welcome."},
    {"role": "user", "content": "Bye"},
]


def pseudonym(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def log(tmp_path: Path, rows: list[dict[str, Any]]) -> Path:
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def tried(path: Path, **more: Any) -> tuple[Backtest, list[Decision]]:
    rows: list[Decision] = []
    return backtest([path], shipped("starter"), pseudonym=pseudonym, write=rows.append, **more), rows


def test_a_conversation_is_cut_into_turns(tmp_path: Path) -> None:
    found, rows = tried(log(tmp_path, [{"id": "talk", "messages": TALK}]))
    assert [(row.exchange_id, row.action, row.rule) for row in rows] == [
        ("talk#1", "allow", ""),
        ("talk#2", "redact", "no-secrets-in-answers"),
        ("talk#3", "flag", "worth-a-look"),  # the key stands in the history now
    ]
    assert rows[1].hits == ("secret_in_output",)
    assert (found.turns, found.actions, found.touched.count) == (3, {"allow": 1, "flag": 1, "redact": 1}, 1)
    assert found.touched.low < 1 / 3 < found.touched.high and found.conversations.of == 1


def test_what_a_turn_holds() -> None:
    def text(turn: int, origin: Origin) -> Text:
        return Text(f"t{turn}", origin, Trust.user, "", "", turn)

    texts = (
        text(1, Origin.user),
        text(2, Origin.model),
        text(3, Origin.tool),
        text(4, Origin.model),
        text(5, Origin.user),
    )
    calls = (ToolCall("a", "{}", "", 2),)
    talk = Exchange("x", "s", 1, "messages", texts=texts, calls=calls)
    first, second = turns(talk)
    assert [one.value for one in first.sides.request.texts] == ["t1"] and not first.sides.request.calls  # type: ignore[union-attr]
    assert [one.value for one in first.sides.reply.texts] == ["t1", "t2"] and first.sides.reply.calls == calls  # type: ignore[union-attr]
    assert [one.value for one in second.sides.request.texts] == ["t1", "t2", "t3"]  # type: ignore[union-attr]
    assert len(second.sides.reply.texts) == 4  # type: ignore[union-attr]
    single = Exchange("x", "s", 1, "openai", texts=texts[:4], calls=calls)
    (one,) = turns(single)
    assert len(one.sides.request.texts) == 3 and one.id == "x#1"  # type: ignore[union-attr]
    (lonely,) = turns(Exchange("x", "s", 1, "messages", texts=texts[:1]))
    assert lonely.sides.reply is None
    assert not list(turns(Exchange("x", "s", 1, "messages")))


def test_dispositions_make_an_estimate_of_false_positives(tmp_path: Path) -> None:
    path = log(
        tmp_path,
        [{"id": f"t{n}", "messages": TALK, "timestamp": "2026-03-01T10:00:00Z", "user": "ann"} for n in range(4)],
    )
    labels = read_labels(
        [
            b'{"exchange_id": "t0#2", "disposition": "false_positive"}',
            b"",
            b'{"exchange_id": "t1", "disposition": "attack"}',
        ],
        "l",
    )
    found, _ = tried(path, labels=labels, cost_per_block=10.0)
    assert (found.false_positives.count, found.false_positives.of) == (1, 2)
    assert "2 touched turns have none" in found.false_positives.what
    assert found.days == 1 and found.people_per_day == 1 and found.callers
    assert found.cost_per_day == pytest.approx(4 * 0.5 * 10)
    unlabelled, _ = tried(path, cost_per_block=10.0)
    assert (
        unlabelled.cost_per_day == pytest.approx(40)
        and "if this traffic is ordinary" in unlabelled.false_positives.what
    )
    assert "worth-a-look" in table(unlabelled)
    with pytest.raises(UsageError, match="l:1"):
        read_labels([b'{"exchange_id": 1}'], "l")


def test_broken_logs_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"messages": [{"role": "user", "content": "hi"}]}\n{"messages": [\n{"a": 1}\n')
    found, _ = tried(path)
    assert found.unjudged


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.exists(), reason="the evaluation folder is not there")
@pytest.mark.parametrize("name", ["starter", "strict"])
def test_ordinary_conversations_are_left_alone(name: str) -> None:
    rows: list[Decision] = []
    found = backtest([SHARED], shipped(name), pseudonym=pseudonym, write=rows.append)
    with gzip.open(SHARED) as packed:
        replies = {
            f"{row['id']}#{number}"
            for row in map(json.loads, packed)
            for number in range(1, sum(one["role"] == "assistant" for one in row["messages"]) + 1)
        }
    assert {row.exchange_id for row in rows} == replies and len(rows) == len(replies)
    assert found.touched.count == 0


def command(*words: str) -> int:
    return run(["policy", *words, "-q"])


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    path = log(tmp_path, [{"id": "talk", "messages": TALK}])
    assert command("show", "strict", "-o", "mine.yaml") == 0
    assert command("test", "mine.yaml") == 0
    assert command("fmt", "--check", "mine.yaml") == 0
    assert command("schema") == 0 and '"$schema"' in capsys.readouterr().out
    assert command("explain", "mine.yaml", "--logs", str(path)) == 0
    assert "talk#2" in capsys.readouterr().out
    assert command("explain", "mine.yaml", "--logs", str(path), "--turn", "talk#9") == 2
    assert command("explain", "mine.yaml", "--test", "an ordinary question") == 0
    assert "no rule matched" in capsys.readouterr().out
    assert command("explain", "mine.yaml", "--test", "nothing") == 2
    words = [
        "backtest",
        "mine.yaml",
        "--logs",
        str(path),
        "--decisions",
        "d.jsonl",
        "--judge",
        "off",
        "-f",
        "json",
        "-o",
        "b.json",
    ]
    assert command(*words) == 0
    lines = [json.loads(row) for row in Path("d.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(row["exchange_id"], row["action"]) for row in lines][:2] == [("talk#1", "allow"), ("talk#2", "redact")]
    broken = Path("mine.yaml").read_text(encoding="utf-8").replace("action: block\n", "action:   flag\n", 1)
    Path("bad.yaml").write_text(broken, encoding="utf-8")
    assert command("fmt", "--check", "bad.yaml") == 10
    assert command("fmt", "bad.yaml") == 0 and command("fmt", "--check", "bad.yaml") == 0
    assert command("test", "bad.yaml") in (0, 10)
    assert command("test", "nowhere.yaml") == 2
    assert command("backtest", "--logs", str(tmp_path / "mine.yaml"), "--judge", "off") in (0, 3)


def test_two_people_promote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    path = log(tmp_path, [{"id": "talk", "messages": TALK[:3]}])
    assert command("show", "starter", "-o", "p.yaml") == 0
    assert command("backtest", "p.yaml", "--logs", str(path), "--judge", "off", "-f", "json", "-o", "b.json") == 0
    for name in ("ann", "bob"):
        assert command("key", f"{name}.pem") == 0
    assert Path("ann.pem").stat().st_mode & 0o077 == 0 and command("key", "ann.pem") == 2
    ann, bob = ("--key", "ann.pem", "--name", "Ann"), ("--key", "bob.pem", "--name", "Bob")
    assert command("promote", "p.yaml", *bob) == 2  # nothing proposed
    assert command("promote", "p.yaml", *ann, "--stage", "enforce", "--reason", "r") == 2  # no backtest
    assert command("promote", "p.yaml", *ann, "--stage", "enforce", "--backtest", "b.json") == 2  # no reason
    assert command("promote", "p.yaml", *ann, "--stage", "enforce", "--backtest", "b.json", "--change", "C-1") == 0
    assert command("status", "p.yaml") == 10
    assert command("promote", "p.yaml", *ann) == 2  # the same person
    assert command("promote", "p.yaml", "--key", "ann.pem", "--name", "Bob") == 2  # the same key
    assert command("promote", "p.yaml", *bob, "--trusted", "ann.pem.pub") == 2  # a stranger
    assert command("promote", "p.yaml", *bob, "--trusted", "ann.pem.pub", "--trusted", "bob.pem.pub") == 0
    assert command("status", "p.yaml", "--trusted", "ann.pem.pub", "--trusted", "bob.pem.pub") == 0
    assert "promoted to enforce, signed by Ann, Bob" in capsys.readouterr().out
    assert command("status", "p.yaml", "--acted", "0", "--seen", "1000") == 0
    assert command("status", "p.yaml", "--acted", "999", "--seen", "1000") == 10
    signed = Path("p.yaml.promoted.json").read_text(encoding="utf-8")
    Path("p.yaml.promoted.json").write_text(signed.replace('"C-1"', '"C-2"'), encoding="utf-8")
    assert command("status", "p.yaml") == 10
    Path("p.yaml.promoted.json").write_text(signed, encoding="utf-8")
    text = Path("p.yaml").read_text(encoding="utf-8")
    Path("p.yaml").write_text(text.replace("mode: observe", "mode: enforce"), encoding="utf-8")
    assert command("status", "p.yaml") == 10  # another revision
    Path("p.yaml").write_text(text + 'freeze: ["2000-01-01/2999-01-01"]\n', encoding="utf-8")
    assert command("promote", "p.yaml", *ann, "--stage", "shadow", "--reason", "r") == 2


def test_a_rate_that_leaves_the_interval_goes_back() -> None:
    from afterguard.policy.interval import should_roll_back
    from afterguard.shares import wilson

    assert not should_roll_back((0.0, 0.01), 0, 10_000)
    assert not should_roll_back((0.0, 0.01), 5, 100)
    assert not should_roll_back((0.0, 0.01), 12, 1_000)
    assert should_roll_back((0.0, 0.01), 40, 1_000)
    low, high = wilson(0, 1_093)[2:]
    assert low == 0 and high == pytest.approx(0.0035, abs=1e-4)
    assert wilson(0, 0)[2:] == (0.0, 1.0) and wilson(5, 5).high == 1.0


def test_a_policy_with_a_scope_is_quiet_elsewhere(tmp_path: Path) -> None:
    text = (
        "format: afterguard.policy/1\nname: x\nscope: {app: shop}\nrules:\n"
        "  - {id: a, says: s, action: block, detection: {s: {hit.kind: secret_in_output}}}\n"
    )
    found = backtest([log(tmp_path, [{"id": "t", "messages": TALK}])], load_policy(text), pseudonym=pseudonym)
    assert found.touched.count == 0
