"""The sinks file: what is wrong in it is said with its line, secrets stay where they lie, and every setting is in the reference."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.cli.run import run as command
from afterguard.errors import AfterguardError, UsageError
from afterguard.export.canary import canary
from afterguard.export.encoding import encoder
from afterguard.export.event import item, spooled
from afterguard.export.exporter import Exporter
from afterguard.export.formats import TEXTS
from afterguard.export.settings import ASKED, KINDS, load, parse
from afterguard.export.sink import Canary, Limits
from afterguard.export.status import LaneStatus, Status

HEAD = "format: afterguard.sinks/1\nsinks:\n"
REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "sinks.md"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sinks: []", "format"),
        (HEAD + "  - {name: a, kind: fiel, path: x}", "did you mean 'file'"),
        (HEAD + "  - name: a\n    kind: file\n    pth: x", ":5: unknown key 'pth': did you mean 'path'"),
        (HEAD + "  - {name: a, kind: file, path: x, path: y}", "stands twice"),
        (HEAD + "  - {name: a, kind: file, path: x}\n  - {name: a, kind: file, path: y}", ":4: two sinks are called a"),
        (HEAD + "  - {name: a, kind: file, path: x, canary: {evry: 5}}", "did you mean 'every'"),
        (HEAD + "  - {name: a, kind: webhook, url: 'https://x/', secret: hunter2}", "does not stand here"),
        (HEAD + "  - {name: a, kind: webhook, url: 'https://x/', secret: {envv: X}}", "did you mean 'env'"),
        (HEAD + "  - {name: A B, kind: file, path: x}", "name"),
        (HEAD + "  - {name: a, kind: file, path: x, lanes: [alerts]}", "alert"),
        (HEAD + "  - {name: a, kind: syslog, host: x, port: 99999}", "65535"),
        ("format: afterguard.sinks/1\nhosts: [b.example]\nsinks:\n  - {name: a, kind: syslog, host: a.example}", "not among `hosts`"),
        (HEAD + "  - [", "node content"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_line(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=r"sinks.yaml:[0-9]+: ") as caught:
        parse(text)
    assert said in str(caught.value) and "hunter2" not in str(caught.value) + caught.value.hint


@given(
    st.text(max_size=300)
    | st.builds(lambda a, b: f"{HEAD}  - {{name: a, kind: {a}, {b}}}", st.sampled_from([*KINDS]), st.text(max_size=80))
)
@settings(max_examples=150, deadline=None)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse(text)
    except AfterguardError as error:
        assert error.slug == "bad-sinks"


def test_every_setting_and_every_count_is_in_the_reference() -> None:
    page = REFERENCE.read_text(encoding="utf-8")
    for tag, kind in KINDS.items():
        assert f"`{tag}`" in page
        for name in kind.__struct_fields__:
            assert f"`{name}`" in page, f"{tag}.{name}"
    pulls = page.partition("## Pulls")[2]
    for tag, pull in ASKED.items():
        assert f"### `{tag}` (pull)" in pulls
        for name in pull.__struct_fields__:
            assert f"`{name}`" in pulls, f"{tag}.{name}"
    for struct in (Canary, Status, LaneStatus):
        for name in struct.__struct_fields__:
            assert f"`{name}`" in page, name


def sinks_file(folder: Path) -> Path:
    path = folder / "sinks.yaml"
    path.write_text(
        HEAD
        + f"  - {{name: it, kind: file, path: {folder}/out.jsonl}}\n  - {{name: away, kind: syslog, host: 127.0.0.1, port: 9, transport: tcp}}"
    )
    return path


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = command(list(words))
    out = capsys.readouterr()
    return code, out.out, out.err


def test_status_redrive_and_test_at_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = sinks_file(tmp_path)
    words = ["--sinks", str(path), "--no-config"]
    code, out, err = run(capsys, "export", "status", *words)
    assert code == 0 and "nothing was sent to it yet" in err
    loaded = load(path)
    with Exporter(loaded.sinks, loaded.spools(path)) as one:
        one.put("alert", {"id": "a1"})
        one.drain(0.5)
        one._lines[0].worker._bury("audit", "d1", msgspec.json.encode({"id": "d1"}), "never")
        one._settle()
        code, out, err = run(capsys, "export", "redrive", "it", *words)
        assert code == 0 and "asked the delivering process" in err
        # The other one is away, and there always is more.
        assert any(one.drain(0.2) or one.counts()["it"]["lanes"]["audit"]["delivered"] == 1 for _ in range(300))
    code, out, err = run(capsys, "export", "status", *words, "--format", "json")
    it, away = map(json.loads, out.splitlines())
    assert code == 10 or away["state"] == "stopped"
    assert (
        it["lanes"]["alert"]["delivered"] == 1
        and it["counts"]["redriven"] == 1
        and away["lanes"]["alert"]["backlog"] == 1
    )
    code, out, err = run(capsys, "export", "test", "it", *words)
    assert code == 0 and "arrived" in out
    code, out, err = run(capsys, "export", "test", "away", *words, "--within", "1")
    assert code == 4 and "failed" in out and "refused" in out
    code, out, err = run(capsys, "export", "test", "itt", *words)
    assert code == 2 and "did you mean 'it'" in err


@pytest.mark.parametrize("name", ["json", *TEXTS])
def test_a_sink_is_sent_each_format_within_its_limit(name: str) -> None:
    alert = canary("it", 1.8e9)
    id, body = spooled(alert)
    for most in (60_000, 6_000):
        one, is_cut = item(id, 1.8e9, "alert", body, encoder(name), Limits(events=1, size=most, event=most))
        assert alert.id.encode() in one.body and len(one.body) <= most and not is_cut and b"\n" not in one.body
    assert (one.id, one.severity) == (alert.id, "info")
    plain = msgspec.json.encode({"id": "u1", "what": "nobody's format"})
    assert item("u1", 1.8e9, "audit", plain, encoder(name), Limits(1, 9_000, 9_000))[0].body == plain


def test_a_format_that_there_is_not_is_named_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="ocsff") as caught:
        encoder("ocsff")
    assert "ocsf" in caught.value.hint


@pytest.mark.parametrize("words", [("watch", "run", "{log}"), ("export", "status"), ("export", "test")])
def test_a_file_with_pulls_alone_is_no_place_to_hand_things_to(words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    sinks, log = tmp_path / "sinks.yaml", tmp_path / "decisions.jsonl"
    sinks.write_text("format: afterguard.sinks/1\npulls: [{name: es, kind: elastic, url: 'https://es.example'}]\n")
    log.write_text("")
    told = [one.format(log=log) for one in words]
    code, _, err = run(capsys, *told, "--sinks", str(sinks), "--store", str(tmp_path / "s.db"), "--no-config")
    assert code == 2 and f"{sinks} names no sink" in err
