"""Aliases of models and prompts set back in MLflow's own registry, with accounts: done, seen, taken back; by whom may not, nothing; after a crash, once.

Its server runs in an environment of its own, made once, or in the one whose interpreter PYTHON_WITH_MLFLOW names; where neither can be had these tests are skipped.
"""

from __future__ import annotations

import contextlib
import http.server
import importlib.util
import json
import os
import subprocess
import sys
import threading
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from ports import free_port

from afterguard.cli.run import run
from afterguard.errors import AfterguardError, UsageError
from afterguard.model import Alert, Confidence, Entity, Severity
from afterguard.respond.act import Act, identity
from afterguard.respond.engine import Engine, Ran
from afterguard.respond.journal import Journal
from afterguard.respond.registries import Registries
from afterguard.respond.roles import Person
from afterguard.respond.settings import Registry, load

HERE = Path(__file__).parent
KEY = Ed25519PrivateKey.from_private_bytes(b"j" * 32)
ANN = Person("os:ann", "ann", ("responder",), "os")
ADMIN, OURS = "of-the-registry-4711", "of-afterguard-4711"
MODELS, PROMPTS = (
    {"fraud": "fraud-scorer@champion"},
    {"openai": "shop-desk@production", "swap": "fraud-scorer@champion"},
)
KIND, GOOD, BAD = "You are the desk of a shop.", "You are the desk of a shop. Be kind.", "Give refunds to everybody."
SEED = f"""
import mlflow, sys
mlflow.set_tracking_uri(sys.argv[1])
for text in ({KIND!r}, {GOOD!r}, {BAD!r}):
    mlflow.genai.register_prompt(name="shop-desk", template=text)
mlflow.genai.set_prompt_alias("shop-desk", "production", 3)
registry = mlflow.MlflowClient()
for name in ("fraud-scorer", "not-ours"):
    registry.create_registered_model(name)
    for version in range(3):
        registry.create_model_version(name, source="s3://models/fraud")
    registry.set_registered_model_alias(name, "champion", "3")
"""
LOAD = """
import mlflow, sys
mlflow.set_tracking_uri(sys.argv[1])
print(mlflow.genai.load_prompt("prompts:/shop-desk@production").template)
"""


def module(name: str, file: Path) -> Any:
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec and spec.loader
    found = importlib.util.module_from_spec(spec)
    sys.modules[name] = found
    spec.loader.exec_module(found)
    return found


foreign = module("respond_foreign", HERE.parent / "attack" / "foreign.py")
running = module("respond_running", HERE.parent / "guard" / "running.py")


class Server(NamedTuple):
    """MLflow, running."""

    url: str
    python: str
    folder: Path

    def ask(self, path: str, told: Any = None, api: str = "2.0") -> Any:
        """As its administrator."""
        data = None if told is None else json.dumps(told).encode()
        headers = {"content-type": "application/json", "authorization": "Basic " + b64encode(f"admin:{ADMIN}".encode()).decode()}  # fmt: skip
        request = urllib.request.Request(f"{self.url}/api/{api}/mlflow/{path}", data, headers)
        with urllib.request.urlopen(request, timeout=20) as reply:
            return json.load(reply)

    def points(self, name: str, alias: str) -> str:
        """Where an alias points."""
        return str(self.ask(f"registered-models/alias?name={name}&alias={alias}")["model_version"]["version"])

    def set(self, name: str, alias: str, version: str) -> None:
        """Set it."""
        self.ask("registered-models/alias", {"name": name, "alias": alias, "version": version})

    def run(self, code: str) -> str:
        """What MLflow's own client says."""
        told = os.environ | {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": ADMIN, "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONPATH": ""}  # fmt: skip
        done = subprocess.run([self.python, "-c", code, self.url], cwd=self.folder, env=told, capture_output=True, text=True, timeout=120, check=False)  # fmt: skip
        assert not done.returncode, done.stderr[-2000:]
        return done.stdout.strip()

    def registry(self, **more: Any) -> Registry:
        """As respond.yaml names it."""
        (self.folder / "token").write_text(OURS + "\n")
        told = {
            "url": self.url,
            "token": str(self.folder / "token"),
            "user": "afterguard",
            "models": MODELS,
            "prompts": PROMPTS,
        }
        return Registry("mlflow", **{**told, **more})


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A registry with accounts: ours may edit one model and one prompt, and read nothing else."""
    python, folder = foreign.mlflow(), tmp_path_factory.mktemp("mlflow")
    (folder / "auth.ini").write_text(f"[mlflow]\ndefault_permission = NO_PERMISSIONS\ndatabase_uri = sqlite:///{folder}/auth.db\nadmin_username = admin\nadmin_password = {ADMIN}\nauth_cache_ttl_seconds = 600\n")  # fmt: skip
    told = os.environ | {
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"), "MLFLOW_FLASK_SERVER_SECRET_KEY": "s" * 32, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONPATH": "", "PATH": f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip
    port = free_port()
    command = [python, "-m", "mlflow", "server", "--app-name", "basic-auth", "--backend-store-uri", f"sqlite:///{folder}/registry.db", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]  # fmt: skip
    with (folder / "said.txt").open("wb") as out:
        process = subprocess.Popen(command, cwd=folder, env=told, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)  # fmt: skip
    made = Server(f"http://127.0.0.1:{port}", python, folder)
    try:
        running.until(lambda: process.poll() is not None or is_up(made.url), 180)
        assert process.poll() is None, (folder / "said.txt").read_text()[-2000:]
        made.run(SEED)
        made.ask("users/create", {"username": "afterguard", "password": OURS})
        for kind, name in (("registered_model", "fraud-scorer"), ("prompt", "shop-desk")):
            made.ask("users/permissions/grant", {"username": "afterguard", "resource_type": kind, "resource_id": name, "permission": "EDIT"}, "3.0")  # fmt: skip
        yield made
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        process.wait(20)


def is_up(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def act(do: str, target: str, value: str, case: str = "c") -> Act:
    return Act(identity(case, "b", do, target), case, "b", do, "contain", do, "mount", target, do, value, timeout=2.0)


MODEL, PROMPT = act("roll_back_model", "fraud", "2"), act("roll_back_prompt", "openai", "2")


@contextlib.contextmanager
def engine(folder: Path, acts: list[Act], adapter: Any) -> Iterator[Engine]:
    folder.mkdir(exist_ok=True)
    journal = Journal(folder / "journal.jsonl", KEY, case="c", who=ANN.id, now=1.0)
    try:
        yield Engine(acts, {"registries": adapter}, journal, ANN)
    finally:
        journal.close()


def states(ran: Ran) -> list[str]:
    return [one.state for one in ran.rows]


def test_model_and_prompt_go_back_and_forth_again(mlflow: Server, tmp_path: Path) -> None:
    adapter = Registries({"prod": mlflow.registry()})
    assert mlflow.run(LOAD) == BAD
    with engine(tmp_path, [MODEL, PROMPT], adapter) as made:
        assert made.dry().state == "done" and mlflow.points("fraud-scorer", "champion") == "3"
        ran = made.run()
        assert ran.state == "done" and ran.rows[0].says == "prod says fraud-scorer@champion is version 2", ran.rows
        assert mlflow.points("fraud-scorer", "champion") == "2" and mlflow.run(LOAD) == GOOD
        assert states(made.run()) == ["done", "done"]
        assert adapter.objections(MODEL) == ["fraud-scorer@champion is version 2 already"]
        assert adapter.do(MODEL, 0.0) and adapter.state(MODEL).word == "in_effect"  # twice is once
        assert states(made.undo()) == ["undone", "undone"]
    assert (mlflow.points("fraud-scorer", "champion"), mlflow.points("shop-desk", "production")) == ("3", "3")


def test_what_somebody_moved_since_is_left_where_it_is(mlflow: Server, tmp_path: Path) -> None:
    with engine(tmp_path, [MODEL], Registries({"prod": mlflow.registry()})) as made:
        assert made.run().state == "done"
        mlflow.set("fraud-scorer", "champion", "1")
        ran = made.undo()
        assert states(ran) == ["undone"] and "version 1" in ran.rows[0].says
        assert mlflow.points("fraud-scorer", "champion") == "1"
    mlflow.set("fraud-scorer", "champion", "3")


def test_with_the_commands_a_responder_types(
    mlflow: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = {name: value for name, value in msgspec.to_builtins(mlflow.registry()).items() if value}
    (tmp_path / "respond.yaml").write_text(
        json.dumps({"format": "afterguard.respond/1", "registries": {"prod": registry}})
    )
    mount, worst = Entity("mount", "openai", "means"), (Severity.high, Confidence.high)
    alert = Alert(
        f"al-{1:032x}", "fp", "unsafe_output", "It gave refunds away", *worst, 1.0, 2.0, 2.0, "shop", entities=(mount,)
    )
    (tmp_path / "alerts.json").write_bytes(msgspec.json.encode(alert))

    def respond(*words: str) -> tuple[int, Any]:
        more = [
            "-f",
            "json",
            "--store",
            str(tmp_path / "store.db"),
            "--settings",
            str(tmp_path / "respond.yaml"),
            "--no-config",
        ]
        code = run(["respond", *words, *more])
        return code, json.loads(capsys.readouterr().out)

    case = respond("open", str(tmp_path / "alerts.json"))[1]["case"]["id"]
    choice = (
        "--playbook",
        "harmful-output",
        "--only",
        "prompt-back",
        "--skip",
        "keep-output",
        "--value",
        "prompt-back=2",
    )
    for more in (("--dry-run",), ()):
        code, said = respond("run", case, *choice, *more)
        assert code == 0, said
    row = said["acts"][-1]
    assert (row["act"]["do"], row["state"], row["says"]) == (
        "roll_back_prompt",
        "done",
        "prod says shop-desk@production is version 2",
    )
    assert mlflow.points("shop-desk", "production") == "2"
    assert respond("undo", case, row["act"]["id"])[0] == 0 and mlflow.points("shop-desk", "production") == "3"


class Killed(BaseException):
    """The end of the process."""


class Cut(Registries):
    """Ends before or after it has done it."""

    is_late = False

    def do(self, act: Act, until: float) -> dict[str, Any]:
        if self.is_late:
            super().do(act, until)
        raise Killed


@pytest.mark.parametrize("is_late", [False, True])
def test_what_a_crash_cut_off_is_taken_up_and_undone_to_where_it_was(mlflow: Server, tmp_path: Path, is_late: bool) -> None:  # fmt: skip
    told = {"prod": mlflow.registry()}
    cut = Cut(told)
    cut.is_late = is_late
    with engine(tmp_path, [PROMPT], cut) as made, pytest.raises(Killed):
        made.run()
    with engine(tmp_path, [PROMPT], Registries(told)) as made:
        ran = made.run()
        assert ran.state == "done" and ("found in effect" if is_late else "done again") in ran.rows[0].says
        assert mlflow.points("shop-desk", "production") == "2"
        assert made.undo().state == "done" and mlflow.points("shop-desk", "production") == "3"


def test_what_is_not_named_not_there_or_not_allowed_is_refused_and_said(mlflow: Server, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("not-the-password")
    told = mlflow.registry(models=MODELS | {"other": "not-ours@champion", "bare": "fraud-scorer@none", "gone": "nothing@x", "prompt": "shop-desk@production"})  # fmt: skip
    rows = (
        (act("roll_back_model", "nobody", "2"), told, "respond.yaml names none of models for nobody"),
        (act("roll_back_model", "fraud", "4"), told, "not found"),
        (act("roll_back_model", "fraud", "02"), told, "no version"),
        (act("roll_back_model", "fraud", "latest"), told, "no version"),
        (act("roll_back_model", "bare", "2"), told, "no alias none"),
        (act("roll_back_model", "gone", "2"), told, "it says 40"),
        (act("roll_back_model", "prompt", "1"), told, "shop-desk is a prompt"),
        (act("roll_back_prompt", "swap", "1"), told, "fraud-scorer is a model"),
        (act("roll_back_model", "other", "2"), told, "it says 403"),
        (MODEL, mlflow.registry(token=str(tmp_path / "wrong")), "it says 401"),
        (MODEL, mlflow.registry(token=str(tmp_path / "none")), "cannot be read"),
        (MODEL, mlflow.registry(url="http://registry.example"), "without TLS"),
        (MODEL, mlflow.registry(url=f"http://127.0.0.1:{free_port()}"), "does not answer"),
    )
    for number, (one, registry, says) in enumerate(rows):
        adapter = Registries({"prod": registry})
        found = adapter.objections(one)
        assert len(found) == 1 and says in found[0], (one, found)
        with engine(tmp_path / str(number), [one], adapter) as made:
            assert made.dry().rows[0].says == made.run().rows[0].says == found[0]
    assert mlflow.points("fraud-scorer", "champion") == mlflow.points("not-ours", "champion") == "3"


def test_who_may_only_read_fails_and_nothing_has_to_be_taken_back(mlflow: Server, tmp_path: Path) -> None:
    def grant(permission: str) -> None:
        told = {"username": "afterguard", "resource_type": "prompt", "resource_id": "shop-desk"}
        mlflow.ask("users/permissions/revoke", told, "3.0")
        mlflow.ask("users/permissions/grant", {**told, "permission": permission}, "3.0")

    grant("READ")
    try:
        with engine(tmp_path, [PROMPT], Registries({"prod": mlflow.registry()})) as made:
            ran = made.run()
            assert states(ran) == ["failed"] and "403" in ran.rows[0].says, ran.rows
            assert states(made.undo()) == ["undone"] and mlflow.points("shop-desk", "production") == "3"
    finally:
        grant("EDIT")


def test_an_undo_under_other_settings_moves_nothing(mlflow: Server, tmp_path: Path) -> None:
    with engine(tmp_path, [MODEL], Registries({"prod": mlflow.registry()})) as made:
        assert made.run().state == "done"
    other = Registries({"prod": mlflow.registry(models={"fraud": "not-ours@champion"})})
    with engine(tmp_path, [MODEL], other) as made:
        ran = made.undo()
        assert states(ran) == ["failed"] and "it was another" in ran.rows[0].says
    with engine(tmp_path, [MODEL], Registries({"prod": mlflow.registry()})) as made:
        assert states(made.undo()) == ["undone"] and mlflow.points("fraud-scorer", "champion") == "3"


# A peer that says anything.


class Anything(http.server.BaseHTTPRequestHandler):
    status, said = 200, b""

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("content-length", str(len(self.said)))
        self.send_header("location", "http://127.0.0.1:1/")
        self.end_headers()
        self.wfile.write(self.said)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def anything() -> Iterator[str]:
    server = http.server.HTTPServer(("127.0.0.1", 0), Anything)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.text(max_size=8) | st.sampled_from(["champion", "2", "3"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["registered_model", "aliases", "alias", "version", "tags", "key", "value", "message", "model_version", "status"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([200, 200, 200, 302, 404, 500]), st.binary(max_size=60) | VALUES.map(lambda one: json.dumps(one).encode()))  # fmt: skip
def test_no_reply_makes_it_stumble(anything: str, status: int, said: bytes) -> None:
    Anything.status, Anything.said = status, said
    adapter = Registries({"prod": Registry("mlflow", anything, models=MODELS)})
    assert adapter.state(MODEL).word in ("unknown", "not", "in_effect")
    assert all(isinstance(one, str) for one in adapter.objections(MODEL))


def test_a_token_alone_is_a_bearer_and_goes_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("dapi-4711\n")
    seen: list[tuple[str, str]] = []

    class Seen(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.path, self.headers["authorization"]))
            self.send_response(302)
            self.send_header("location", f"http://127.0.0.1:{server.server_port}/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Seen)
    thread = threading.Thread(target=server.handle_request, daemon=True)
    thread.start()
    registry = Registry("mlflow", f"http://127.0.0.1:{server.server_port}/under/", token=str(tmp_path / "token"), models={"a": "b c&d@e"})  # fmt: skip
    assert "it says 302" in Registries({"prod": registry}).objections(act("roll_back_model", "a", "1"))[0]
    thread.join(5)
    server.server_close()
    assert seen == [("/under/api/2.0/mlflow/registered-models/get?name=b+c%26d", "Bearer dapi-4711")]


def test_settings_name_each_thing_once_and_with_its_alias() -> None:
    head = "format: afterguard.respond/1\nregistries:\n  a: {kind: mlflow, url: 'https://r', models: {fraud: f@x}}\n"
    assert load(head, "r").registries["a"].models == {"fraud": "f@x"}
    for more, says in (
        ("  b: {kind: mlflow, url: 'https://s', models: {fraud: g@x}}\n", "two registries"),
        ("  b: {kind: mlflow, url: 'https://s', prompts: {shop: g}}\n", "prompts"),
        ("  b: {kind: mlflow, url: 'https://s', prompts: {shop: 'a/b@c'}}\n", "prompts"),
        ("  b: {kind: wandb, url: 'https://s'}\n", "kind"),
        ("  b: {kind: mlflow, url: 'https://s', user: ann}\n", "token"),
    ):
        with pytest.raises(UsageError, match=says):
            load(head + more, "r")
    with pytest.raises(AfterguardError):
        load("format: afterguard.respond/1\nregistries: {a: {kind: mlflow}}\n", "r")
