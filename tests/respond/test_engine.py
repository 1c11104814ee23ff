"""The engine and its adapters: hooks, files, vectors, the journal; what fails is said; what is killed is found again."""

from __future__ import annotations

import hmac
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.errors import AfterguardError, UsageError
from afterguard.respond.act import Act, identity
from afterguard.respond.engine import Engine
from afterguard.respond.hooks import Hooks, signature
from afterguard.respond.journal import Journal, verify
from afterguard.respond.kept import Files
from afterguard.respond.person import People
from afterguard.respond.roles import Person
from afterguard.respond.settings import Hook, load

KEY = Ed25519PrivateKey.from_private_bytes(b"j" * 32)
ANN = Person("os:ann", "ann", ("responder",), "os")


def act(do: str, target: str = "c", phase: str = "eradicate", **more: Any) -> Act:
    return Act(identity("c", "b", do, target), "c", "b", do, phase, do, more.pop("on", "case"), target, do, **{"timeout": 1.0, **more})  # fmt: skip


def engine(folder: Path, acts: list[Act], hooks: dict[str, Hook] | None = None, **more: Any) -> Engine:
    policy = more.pop("policy", "")
    adapters: dict[str, Any] = {
        "hook": Hooks(hooks or {}, os.environ),
        "person": People(),
        "files": Files(folder, {}, lambda: b"{}", policy),
        **more,
    }
    journal = Journal(folder / "journal.jsonl", KEY, case="c", who=ANN.id, now=1.0)
    return Engine(acts, adapters, journal, ANN, caps={"page": 2})


def marker(folder: Path) -> Hook:
    made = str(folder / "made-{target}")
    return Hook(command=["/bin/mkdir", made], check=["/usr/bin/test", "-d", made], undo=["/bin/rmdir", made])


def test_a_failed_step_is_a_failed_run_and_the_dry_run_says_the_same(tmp_path: Path) -> None:
    hooks = {
        "good": marker(tmp_path),
        "bad": Hook(command=["/bin/false"], check=["/bin/false"]),
        "blind": Hook(command=["/bin/true"]),
    }
    acts = [
        act("call", "a", hook="good"),
        act("rotate_secret", "k", on="key", hook="bad"),
        act("call", "z", hook="good"),
    ]
    made = engine(tmp_path, acts, hooks)
    assert made.dry().state == "done" and not list(tmp_path.glob("made-*"))
    ran = made.run()
    assert (
        ran.state == "failed"
        and [one.state for one in ran.rows] == ["done", "failed"]
        and not (tmp_path / "made-z").exists()
    )
    assert made.undo().state == "done" and not (tmp_path / "made-a").exists()
    dry = made.dry().rows[0]
    assert dry == made.run().rows[0] and dry.state == "skipped", (
        "what was undone is not done again, and the dry run knows"
    )
    made.journal.close()  # type: ignore[union-attr]
    for number, (wrong, says) in enumerate(
        (
            (act("call", "a", hook="blind"), "no check"),
            (act("call", "-rf", hook="good"), "option"),
            (act("call", "a", hook="none"), "no hook"),
            (act("quarantine_document", "d", on="document"), "respond.yaml names no vector store; --skip"),
        )
    ):
        other = engine(tmp_path / str(number), [wrong], hooks)
        dry, real = other.dry(), other.run()
        assert (
            dry.state == real.state == "failed" and says in dry.rows[0].says and dry.rows[0].says == real.rows[0].says
        )
        other.journal.close()  # type: ignore[union-attr]


def test_evidence_comes_first_caps_hold_and_open_questions_do_not_stop_the_rest(tmp_path: Path) -> None:
    acts = [
        act("ask", phase="evidence"),
        act("call", "a", phase="contain", hook="good"),
        act("ask", "c2", phase="recover"),
    ]
    made = engine(tmp_path, acts, {"good": marker(tmp_path)})
    ran = made.run()
    assert (
        ran.state == "waiting" and [one.state for one in ran.rows] == ["waiting"] and not (tmp_path / "made-a").exists()
    )
    assert made.journal is not None
    made.journal.write("answered", ANN.id, 2.0, act=acts[0].id, text="kept in the vault")
    assert [one.state for one in made.run().rows] == ["done", "done", "waiting"]
    made.journal.close()
    pages = [act("page", f"p{n}", hook="x") for n in range(3)]
    other = engine(tmp_path / "caps", pages, {"x": Hook(command=["/bin/true"])})
    assert "cap of 2" in other.run().rows[0].says
    other.journal.close()  # type: ignore[union-attr]


def test_what_is_only_to_hold_for_a_while_is_taken_back(tmp_path: Path) -> None:
    made = engine(tmp_path, [act("call", "a", hook="good", ttl=100.0)], {"good": marker(tmp_path)})
    now = [1_000.0]
    made.clock = lambda: now[0]
    assert made.run().state == "done" and made.expire().rows == () and (tmp_path / "made-a").exists()
    now[0] += 101
    assert [one.state for one in made.expire().rows] == ["expired"] and not (tmp_path / "made-a").exists()
    made.journal.close()  # type: ignore[union-attr]


class Server(http.server.BaseHTTPRequestHandler):
    got: list[tuple[dict[str, str], bytes]]
    status = 200

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
        self._say(b'{"key": "SEC-1"}')

    def do_GET(self) -> None:
        self._say(json.dumps({"in_effect": bool(self.got)}).encode())

    def _say(self, body: bytes) -> None:
        self.send_response(self.status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, type[Server]]]:
    kind = type("Here", (Server,), {"got": []})
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{made.server_address[1]}", kind
    made.shutdown()
    made.server_close()


def test_a_hook_over_http_is_signed_has_its_key_and_is_asked_again(
    tmp_path: Path, server: tuple[str, type[Server]]
) -> None:
    url, kind = server
    (tmp_path / "secret").write_text("sixteen letters at least")
    hook = Hook(
        url=f"{url}/x", check_url=f"{url}/check/{{target}}", secret=str(tmp_path / "secret"), undo_url=f"{url}/undo"
    )
    one = act("freeze_writes", hook="freeze")
    made = engine(tmp_path, [one], {"freeze": hook})
    ran = made.run()
    assert ran.state == "done" and "in effect" in ran.rows[0].says
    headers, body = kind.got[0]
    assert headers["idempotency-key"] == one.id and json.loads(body)["act"]["do"] == "freeze_writes"
    assert hmac.compare_digest(
        headers["x-afterguard-signature"], signature(b"sixteen letters at least", headers["x-afterguard-time"], body)
    )
    kind.status = 500
    assert made.undo().state == "failed"
    made.journal.close()  # type: ignore[union-attr]


def test_a_hook_that_the_settings_lost_is_a_sentence_and_no_crash() -> None:
    hooks = Hooks({}, os.environ)
    act = Act("act-1", "c", "b", "s", "contain", "call", "case", "x", "t", hook="gone")
    assert not hooks.is_repeatable(act) and not hooks.is_provable(act)
    state = hooks.state(act)
    assert state.word == "unknown" and "names no hook gone any more" in state.says
    with pytest.raises(UsageError, match="names no hook gone"):
        hooks.do(act, 0.0)
    with pytest.raises(UsageError, match="names no hook gone"):
        hooks.undo(act, {})


def test_a_command_gets_one_argument_each_and_no_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_OURS", "x")
    hooks = Hooks({"env": Hook(command=["/usr/bin/env"]), "echo": Hook(command=["/bin/echo", "{target}"])}, os.environ)
    assert "SECRET_OF_OURS" not in hooks.do(act("page", hook="env"), 0.0)["said"]
    assert hooks.do(act("page", "$(id); {act} a b", hook="echo"), 0.0)["said"] == "$(id); {act} a b\n"


def test_a_policy_goes_back_and_forth_and_what_was_there_is_kept(tmp_path: Path) -> None:
    text = "format: afterguard.policy/1\nname: {}\nrules: []\n"
    policy, earlier = tmp_path / "policy.yaml", tmp_path / "earlier.yaml"
    policy.write_text(text.format("now"))
    earlier.write_text(text.format("before"))
    made = engine(
        tmp_path,
        [
            act("snapshot", phase="evidence"),
            act("roll_back_policy", "p", phase="contain", on="policy", value=str(earlier)),
        ],
        policy=str(policy),
    )
    assert made.run().state == "done" and "name: before" in policy.read_text()
    assert made.undo().state == "done" and "name: now" in policy.read_text()
    made.journal.close()  # type: ignore[union-attr]


def test_a_document_is_moved_out_of_a_real_vector_store_and_back(tmp_path: Path) -> None:
    qdrant = pytest.importorskip("qdrant_client")
    from afterguard.respond.vectors.documents import Documents
    from afterguard.respond.vectors.qdrant import Qdrant

    client = qdrant.QdrantClient(path=str(tmp_path / "q"))
    client.create_collection(
        "kb", vectors_config=qdrant.models.VectorParams(size=4, distance=qdrant.models.Distance.COSINE)
    )
    points = [qdrant.models.PointStruct(id=n, vector=[float(n), 1, 0, 1], payload={"document": "bad" if n < 300 else "good", "n": n}) for n in range(1, 310)]  # fmt: skip
    client.upsert("kb", points)
    before = client.retrieve("kb", [7], with_vectors=True)
    client.close()
    store = Qdrant(collection="kb", path=str(tmp_path / "q"))
    made = engine(
        tmp_path,
        [act("quarantine_document", "bad", on="document", phase="contain", timeout=20)],
        vectors=Documents({"kb": store}),
    )
    assert made.dry().state == "done"
    ran = made.run()
    assert ran.state == "done" and "0 of its points are in kb, 299 beside it" in ran.rows[0].says
    client = qdrant.QdrantClient(path=str(tmp_path / "q"))
    found = client.query_points("kb", [7.0, 1, 0, 1], limit=100).points
    assert {one.payload["document"] for one in found} == {"good"}
    client.close()
    assert made.undo().state == "done"
    client = qdrant.QdrantClient(path=str(tmp_path / "q"))
    back = client.retrieve("kb", [7], with_vectors=True)[0]
    length = sum(one * one for one in back.vector) ** 0.5  # whether they come normalised is the store's own affair
    assert [one / length for one in back.vector] == pytest.approx(before[0].vector, rel=1e-4)
    assert back.payload == before[0].payload and client.count("kb").count == 309
    client.close()
    made.journal.close()  # type: ignore[union-attr]
    assert Documents({"kb": store}).objections(act("quarantine_document", "nobody", on="document"))


def test_every_change_of_a_journal_is_seen_and_a_torn_line_is_cut(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", KEY, case="c", who="ann", now=1.0)
    for number in range(4):
        journal.write("begun", "ann", 2.0 + number, act=f"a{number}", text="x", body={"n": number / 3})
    with pytest.raises(UsageError, match="another run"):
        Journal(tmp_path / "j", KEY, case="c", who="ben", now=1.0)
    head = journal.lines[-1].hash
    journal.close()
    data = (tmp_path / "j").read_bytes()
    assert verify(data, head=head).problems == ()
    lines = data.splitlines(keepends=True)
    for bad in (
        data.replace(b'"a2"', b'"b2"'),
        b"".join(lines[:2] + lines[3:]),
        b"".join(lines[1:]),
        lines[0] + lines[2] + lines[1],
        b"",
        data[:40] + b"\n",
    ):
        assert verify(bad).problems, bad
    assert verify(b"".join(lines[:-1]), head=head).problems  # taken off its end: only who kept the last hash sees it
    assert verify(data, ["00" * 32]).problems
    (tmp_path / "j").write_bytes(data + b'{"n": 5, "at"')
    again = Journal(tmp_path / "j", KEY, case="c", who="ann", now=9.0)
    assert again.lines[-1].what == "torn"
    again.close()
    assert verify((tmp_path / "j").read_bytes()).problems == ()


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_no_journal_makes_verify_stumble(data: bytes) -> None:
    assert verify(data).problems


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=120))
def test_no_settings_make_it_stumble(text: str) -> None:
    with pytest.raises(AfterguardError):
        load(text, "respond.yaml")


def test_kill_nine_twenty_times() -> None:
    """The bench with 20 runs; with 200 it stands in bench/respond_faults.py."""
    bench = Path(__file__).parents[2] / "bench" / "respond_faults.py"
    done = subprocess.run(
        [sys.executable, str(bench), "--runs", "20", "--seed", "11"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0 and "wrong: 0" in done.stdout, done.stdout + done.stderr


def test_a_document_is_found_by_the_name_that_alerts_give_it(tmp_path: Path) -> None:
    qdrant = pytest.importorskip("qdrant_client")
    from afterguard.guard.touched import name
    from afterguard.respond.vectors.documents import Documents
    from afterguard.respond.vectors.qdrant import Qdrant

    def named(text: str) -> str:
        return name(text, lambda value: f"{len(value):016d}")

    client = qdrant.QdrantClient(path=str(tmp_path / "q"))
    client.create_collection("kb", vectors_config=qdrant.models.VectorParams(size=2, distance=qdrant.models.Distance.COSINE))  # fmt: skip
    rows = [("good", "short"), ("bad", "part one"), ("bad", "the part that was seen"), ("none", 7)]
    client.upsert("kb", [qdrant.models.PointStruct(id=n, vector=[n, 1.0], payload={"document": name, "text": text}) for n, (name, text) in enumerate(rows, 1)])  # fmt: skip
    client.close()
    store = Qdrant(collection="kb", path=str(tmp_path / "q"), text="text")
    seen = act("quarantine_document", named("the part that was seen"), on="document", phase="contain", timeout=20)
    made = engine(tmp_path, [seen], vectors=Documents({"kb": store}, named))
    assert made.dry().state == "done"
    ran = made.run()
    assert ran.state == "done" and "0 of its points are in kb, 2 beside it" in ran.rows[0].says, "all its parts go"
    again = Documents({"kb": store}, named)
    assert again.state(seen).word == "in_effect", "asked by another process, which has to find it anew"
    assert made.undo().state == "done"
    assert again.objections(act("quarantine_document", "nobody", on="document"))
    made.journal.close()  # type: ignore[union-attr]
