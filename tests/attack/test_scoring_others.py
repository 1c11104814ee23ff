"""Predictive models behind things that others wrote, or that we did: the fraud model through the running guard with the policy of docs/how-to/predictive.md, and a scikit-learn model in MLflow's own model server.

MLflow's server runs in an environment of its own, made once (some 450 MB), or in the one whose interpreter PYTHON_WITH_MLFLOW names. Where neither can be had that test is skipped.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ports import free_port

from afterguard.attack.scoring.techniques import TECHNIQUES

HERE = Path(__file__).parent


def module(name: str, file: Path) -> Any:
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec and spec.loader
    found = importlib.util.module_from_spec(spec)
    sys.modules[name] = found
    spec.loader.exec_module(found)
    return found


here = module("attack_test_scoring", HERE / "test_scoring.py")
models = here.models
sys.path.insert(0, str(HERE.parent / "guard"))
foreign = module("attack_foreign", HERE / "foreign.py")
running = module("attack_running", HERE.parent / "guard" / "running.py")

KINDS = ["feature_missing", "feature_extra", "feature_type", "feature_range", "feature_category", "feature_not_finite"]
TWICE = ["duplicate_keys"]


def test_the_guard_holds_off_what_its_rules_are_for(tmp_path: Path) -> None:
    policy = running.rules(
        running.rule("features-as-agreed", "block", "request", {"hit.kind": KINDS}),
        running.rule("nothing-unread", "block", "request", {"unjudged.reason": TWICE}),
        running.rule("no-scores", "withhold", "response", {"prediction.rows|gte": 1}),
        head="mode: enforce",
    )
    (tmp_path / "schema.yaml").write_text("format: afterguard.feature-schema/1\nfeatures:\n" + "".join(f"  {name}: {{kind: number, low: {low}, high: {high}}}\n" for name, (low, high) in models.RANGES.items()))  # fmt: skip
    chosen = "two-answers,score-digits,no-value,out-of-range,odd-shape,score-evasion"
    with models.standing("weak") as server:
        mounts = {"fraud:scoring": f"http://127.0.0.1:{server.server_port}"}
        with running.guard("", tmp_path, policy, "--schema", f"fraud={tmp_path / 'schema.yaml'}", mounts=mounts) as guard:  # fmt: skip
            text = here.TARGET.replace("http://127.0.0.1:{port}/score", f"{guard.url}/fraud/score")
            found = here.assessed(server, tmp_path / "run", techniques=chosen, text=text)
    families = here.by_id(found)
    assert families["no-value"].blocked >= 3 and not families["no-value"].succeeded
    assert families["out-of-range"].blocked == 4 and not families["out-of-range"].succeeded
    assert families["odd-shape"].blocked >= 2 and not families["odd-shape"].succeeded
    assert families["score-evasion"].skipped == families["score-digits"].skipped == "no-scores", "withheld"
    assert not found.hits


# MLflow's own server.

TRAIN = """
import json, sys
import pandas, mlflow.sklearn
from mlflow.models import infer_signature
from sklearn.tree import DecisionTreeClassifier
frame = pandas.DataFrame([json.loads(line) for line in open(sys.argv[1])]).astype("float64")
truth = frame.pop("fraud").astype(int)
model = DecisionTreeClassifier(random_state=0).fit(frame, truth)
mlflow.sklearn.save_model(model, sys.argv[2], pyfunc_predict_fn="predict_proba", serialization_format="pickle", signature=infer_signature(frame, model.predict_proba(frame)))
"""


def paid(count: int, seed: int) -> list[dict[str, Any]]:
    """Payments of which a bank says what they were; the label is in part luck, so only who learns by heart knows it."""
    import random

    rng = random.Random(seed)
    return [row | {"fraud": int(rng.random() < (0.75 if row["amount"] > 150 and row["country_risk"] > 0.3 else 0.15))} for row in models.rows(count, seed)]  # fmt: skip


@contextlib.contextmanager
def mlflow(python: str, folder: Path) -> Iterator[int]:
    """MLflow's model server with a tree that has learned its rows by heart."""
    folder.mkdir()
    for name, rows in (("members", paid(200, 71)), ("strangers", paid(200, 72))):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    subprocess.run([python, "-c", TRAIN, "members.jsonl", "model"], cwd=folder, check=True, capture_output=True, timeout=300)  # fmt: skip
    port = free_port()
    environment = os.environ | {"PATH": f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}"}
    command = [python, "-m", "mlflow", "models", "serve", "-m", "model", "--env-manager", "local", "-p", str(port)]
    with (folder / "said.txt").open("wb") as out:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)  # fmt: skip
    try:
        running.until(lambda: process.poll() is not None or is_up(port), 180)
        assert process.poll() is None, (folder / "said.txt").read_text()[-2000:]
        yield port
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        process.wait(20)


def is_up(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=2) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def test_a_model_of_scikit_learn_in_the_server_of_mlflow(tmp_path: Path) -> None:
    python = foreign.mlflow()
    text = here.TARGET.replace("/score", "/invocations").replace("kind: scoring", "kind: mlflow").replace("wanted: approve", "wanted: 0\n  batch: 50\n  members: members.jsonl\n  strangers: strangers.jsonl\n  truth: fraud\n  against: 1")  # fmt: skip
    with mlflow(python, tmp_path / "served") as port:

        class Where:
            server_port = port

        found = here.assessed(Where, tmp_path / "served", text=text)
    families = here.by_id(found)
    assert found.requests <= 600 and not found.stopped and {one.id for one in TECHNIQUES} == set(families)
    assert families["score-evasion"].skipped == "no-scores", "a tree that is sure of everything"
    assert families["boundary-evasion"].succeeded and families["out-of-range"].succeeded
    assert families["membership"].succeeded and here.figure(found, "membership", "area").low > 0.55
    assert families["no-value"].succeeded < families["no-value"].share.of, "MLflow holds rows against the signature"
    assert not families["two-answers"].succeeded
