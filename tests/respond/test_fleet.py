"""Two real guards that pull one signed sheet of measures, each from a real nginx: refused at both, cut off, caught up, lifted, replayed; and what responders are told of it."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from ports import free_port

from afterguard.cli.run import run
from afterguard.config import GuardConfig
from afterguard.errors import UsageError
from afterguard.guard.metrics import Metrics
from afterguard.jobs import points
from afterguard.jobs.contain import AtGuard
from afterguard.jobs.fleet import Fleet
from afterguard.jobs.judging import key as guard_key
from afterguard.jobs.points import Point
from afterguard.jobs.promote import private_key
from afterguard.jobs.prove import Guard
from afterguard.jobs.sheets import Sheets, sheets_of
from afterguard.policy import measures
from afterguard.policy.measures import Measure, Sheet
from afterguard.respond.engine import Engine, State


def load(name: str, path: Path) -> Any:
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec and spec.loader
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


HERE = Path(__file__)
net = load("guard_tests_running", HERE.parents[1] / "guard" / "running.py")
sheet_tests = load("respond_test_measures", HERE.with_name("test_measures.py"))
thin = load("respond_test_thin", HERE.with_name("test_thin.py"))
engines = load("respond_test_engine", HERE.with_name("test_engine.py"))
ask: Callable[..., tuple[int, str]] = sheet_tests.ask
EVERY, STALE = 0.4, 2.5
PATIENCE = 30.0


class Web:
    """nginx with one folder, at an address of its own: what a site pulls from. Can be taken away and come back."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
        if self.program is None:
            pytest.skip("no nginx here; apt-get install nginx-light")
        folder.mkdir()
        self.port = free_port()
        self.conf = folder / "nginx.conf"
        temp = " ".join(f"{one}_temp_path {folder};" for one in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        self.log = folder / "access.log"
        self.conf.write_text(
            f"daemon off; user root; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1; events {{}}\n"
            f"http {{ {temp} log_format one '$status'; access_log {self.log} one; server {{ listen 127.0.0.1:{self.port}; root {root}; }} }}\n"
        )
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/measures.json"

    def start(self) -> None:
        assert self.program
        self.process = subprocess.Popen([self.program, "-c", str(self.conf)])
        net.until(self._answers, PATIENCE)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def stop(self) -> None:
        if self.process is not None:
            net.end(self.process)
            self.process = None


@contextlib.contextmanager
def site(name: str, folder: Path, origin: Any, web: Web, key: str, *words: str) -> Iterator[Any]:
    """A guard that only observes, and pulls its measures."""
    here = folder / name
    here.mkdir(exist_ok=True)
    config = here / "afterguard.toml"
    config.write_text(
        f'[guard]\nmeasures = "{web.url}"\nmeasures_every = {EVERY}\nmeasures_stale = {STALE}\nresponder_keys = ["{key}"]\n'
    )
    rules = net.rules(head="mode: observe")
    with net.guard(origin.origin, here, rules, "--config", str(config), *words, mounts=("openai",)) as guard:
        yield guard


def test_one_sheet_at_two_sites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    monkeypatch.setenv("GLASS_PASSWORD", thin.PASSWORD)
    soc, root = tmp_path / "soc", tmp_path / "web"
    for one in (soc, root, tmp_path / "berlin", tmp_path / "paris"):
        one.mkdir()
    root.chmod(0o755)
    monkeypatch.chdir(soc)
    guard_key(tmp_path / "berlin")
    shutil.copy(tmp_path / "berlin/guard.key", tmp_path / "paris/guard.key")

    def cli(*words: str) -> tuple[int, Any]:
        code = run([*words, "-f", "json", "-q", *(() if words[0] == "policy" else ("--store", str(soc / "store.db")))])
        out = capsys.readouterr()
        return code, json.loads(out.out) if out.out.strip() else out.err

    assert run(["policy", "key", str(soc / "responder.key")]) == 0
    public = measures.public_of(private_key((soc / "responder.key").read_bytes(), "responder"))
    capsys.readouterr()
    near, far = Web(root, tmp_path / "near"), Web(root, tmp_path / "far")
    near.start()
    far.start()
    shown = root / "measures.json"
    with contextlib.ExitStack() as stack:
        stack.callback(near.stop)
        stack.callback(far.stop)
        origin = stack.enter_context(net.stand_in())
        berlin = stack.enter_context(site("berlin", tmp_path, origin, near, public, "--workers", "2"))
        with site("paris", tmp_path, origin, far, public) as paris:
            both = (berlin, paris)
            respond_yaml(soc, berlin, paris, shown)
            at = [word for one in both for word in ("--at", one.url)]

            # Nothing was signed yet: both serve, and show it.
            code, found = cli("policy", "status", *at)
            assert code == 10 and [(one.get("measures", 0), one["is_measures_stale"]) for one in found["points"]] == [(0, True)] * 2  # fmt: skip
            assert cli("respond", "measures")[1]["sequence"] == 0
            code, found = cli("respond", "measures", "--sign")
            assert code == 0 and found["have"] == found["points"] == 2 and found["measures"] == [], found
            net.until(lambda: all(one.metric("afterguard_measures_stale") == 0 for one in both), PATIENCE)
            assert cli("policy", "status", *at)[0] == 0

            # One measure: refused at both within seconds.
            _, identifier = ask(paris, "stolen")
            thief = paris.decided(identifier)["actor"]["user"]["uid"]
            first = opened(cli, soc, thief, 1)
            code, made = contained(cli, first)
            assert code == 0, made
            assert "in effect at 2 of 2 points; 1 probe " in refusal(made), made
            assert shown.stat().st_mode & 0o777 == 0o644, "who may look into the folder may read it"
            assert ask(berlin, "stolen")[0] == ask(paris, "stolen")[0] == 400
            assert ask(berlin, "honest")[0] == ask(paris, "honest")[0] == 200
            assert cli("respond", "show", first)[1]["case"]["status"] == "contained"
            net.until(lambda: "304" in far.log.read_text().split()[-3:], PATIENCE)

            # A third guard has a key of its own: it takes the sheet, knows nobody by that name, and is not counted.
            with site("rome", tmp_path, origin, near, public) as rome:
                respond_yaml(soc, berlin, paris, shown, rome=rome.url)
                assert ask(rome, "stolen")[0] == 200 and rome.metric("afterguard_measures") == 1
                code, found = cli("respond", "measures")
                assert code == 10 and (found["have"], found["points"]) == (2, 3), found
                assert found["lack"] == ["rome names callers with another guard.key, and does not know this one"]
            respond_yaml(soc, berlin, paris, shown)

            # Paris is cut off: it keeps what it had, shows it, and is not counted.
            far.stop()
            _, identifier = ask(berlin, "second")
            second = opened(cli, soc, berlin.decided(identifier)["actor"]["user"]["uid"], 2)
            net.until(lambda: paris.metric("afterguard_measures_stale") == 1, PATIENCE)
            code, made = contained(cli, second)
            assert code == 10 and made["state"] == "partly", made
            held = int(paris.metric("afterguard_measures_sequence"))
            assert f"in effect at 1 of 2 points; paris holds sequence {held}, and was last in touch with its source" in refusal(made)  # fmt: skip
            assert cli("respond", "show", second)[1]["case"]["status"] == "open"
            assert ask(berlin, "second")[0] == 400 and ask(paris, "second")[0] == 200
            assert ask(paris, "stolen")[0] == 400, "what it had holds on"
            code, found = cli("policy", "status", *at)
            assert code == 10 and [one.get("is_measures_stale", False) for one in found["points"]] == [False, True], (
                found
            )
            run(["policy", "status", *at])
            said = capsys.readouterr().out
            assert f"measures: sheet {held}, 1 hold, made" in said and "STALE, BEHIND" in said, said

        # It is away altogether, and comes back, still cut off.
        code, found = cli("respond", "measures")
        assert code == 10 and found["have"] == 1 and f"ago held sequence {held}" in found["lack"][0], found
        paris = stack.enter_context(site("paris", tmp_path, origin, far, public))
        assert ask(paris, "stolen")[0] == 400 and paris.metric("afterguard_measures_sequence") == held
        respond_yaml(soc, berlin, paris, shown)

        # It catches up.
        far.start()
        net.until(lambda: ask(paris, "second")[0] == 400, PATIENCE)
        code, made = cli("respond", "run", second)
        assert "in effect at 2 of 2 points" in refusal(made), made
        assert cli("respond", "show", second)[1]["case"]["status"] == "contained"

        # Lifted at both.
        before = shown.read_bytes()
        code, made = cli("respond", "undo", first)
        assert code == 0 and "gone at 2 of 2 points" in made["acts"][0]["says"], made
        assert ask(berlin, "stolen")[0] == ask(paris, "stolen")[0] == 200
        assert ask(berlin, "second")[0] == ask(paris, "second")[0] == 400

        # The server shows an old sheet: refused, counted, and no sign of life.
        newest = shown.read_bytes()
        shown.write_bytes(before)
        for one in (berlin, paris):
            net.until(lambda one=one: one.metric("afterguard_measures_refused_total", "older") > 1, PATIENCE)
            net.until(lambda one=one: one.metric("afterguard_measures_stale") == 1, PATIENCE)
            assert one.metric("afterguard_measures_pulls_total", "older") > 1
            assert ask(one, "stolen")[0] == 200 and ask(one, "second")[0] == 400
        assert "is older than" in (tmp_path / "paris/said.txt").read_text()
        shown.write_bytes(newest)
        net.until(lambda: paris.metric("afterguard_measures_stale") == 0, PATIENCE)

        # Lifting is told as honestly: paris is away, so it goes on refusing.
        far.stop()
        code, made = cli("respond", "undo", second)
        assert code == 10 and made["state"] == "partly" and "gone at 1 of 2 points; paris holds" in made["acts"][0]["says"], made  # fmt: skip
        assert ask(berlin, "second")[0] == 200 and ask(paris, "second")[0] == 400
        far.start()
        net.until(lambda: ask(paris, "second")[0] == 200, PATIENCE)
        code, made = cli("respond", "undo", second)
        assert code == 0 and "gone at 2 of 2 points" in made["acts"][0]["says"], made


def respond_yaml(folder: Path, berlin: Any, paris: Any, shown: Path, **more: str) -> None:
    thin.respond_yaml(folder, berlin)
    file = folder / "respond.yaml"
    found = json.loads(file.read_text())
    found["guard"] |= {"measures": str(shown), "key": str(folder / "responder.key"), "wait": 6}
    found["guard"]["points"] = {"berlin": berlin.url, "paris": paris.url, **more}
    file.write_text(json.dumps(found))


def opened(cli: Any, folder: Path, thief: str, number: int) -> str:
    (folder / "alerts.jsonl").write_bytes(msgspec.json.encode(thin.alert(thief, number)) + b"\n")
    return str(cli("respond", "open", "alerts.jsonl")[1]["case"]["id"])


def contained(cli: Any, case: str) -> tuple[int, Any]:
    code, made = cli("respond", "run", case, "--only", "refuse-key")
    assert code == 10 and made["acts"][-1]["state"] == "waiting", made
    assert cli("respond", "approve", case, "refuse-key", "--reason", "now", "--break-glass", "envelope")[0] == 0
    return cli("respond", "run", case)  # type: ignore[no-any-return]


def refusal(made: Any) -> str:
    return str(next(one["says"] for one in made["acts"] if one["act"]["step"] == "refuse-key"))


# What others say, and what is made of it.


class Others:
    """Guards that say what they are told to."""

    def __init__(self, folder: Path, **named: Point) -> None:
        self.now, self.asked, self.named = 1_000.0, 0, named
        self.fleet = Fleet({name: f"http://{name}" for name in named}, self.ask, folder / "points.json", 5.0, lambda: self.now)  # fmt: skip

    def ask(self, addresses: Sequence[str]) -> list[Point]:
        self.asked += 1
        return [self.named[one.removeprefix("http://")] for one in addresses]


def has(sequence: int, **more: Any) -> Point:
    return Point("x", measures=sequence, names="k", is_measures_pulled=True, **more)


def test_only_who_says_so_now_is_counted(tmp_path: Path) -> None:
    here = Others(
        tmp_path, good=has(9), newer=has(11), old=has(4), none=has(0), off=has(9, is_killed=True),
        other=msgspec.structs.replace(has(9), names="z"), gone=Point("x", problem="no answer"),
    )  # fmt: skip
    found = here.fleet.reach(9, "k")
    assert (found.have, found.of, found.is_settled) == (2, 7, False)
    said = "\n".join(found.lack)
    for words in (
        "old holds sequence 4", "none holds no sheet", "off has its kill switch on", "other names callers with another guard.key",
        "gone was never seen: no answer",
    ):  # fmt: skip
        assert words in said, said
    assert here.fleet.reach(9).have == 3, "what is about nobody needs no common key"
    here.now += 0.5
    here.fleet.reach(9)
    assert here.asked == 1, "once a second"
    here.now += 5
    assert here.fleet.reach(9, "k").is_settled and here.asked == 2
    here.now += 2
    assert here.fleet.reach(12, "k").is_settled is False, "good and newer are waited for"
    here.named |= {"good": has(12), "newer": has(12), "old": has(9)}
    here.now += 2
    found = here.fleet.reach(12, "k")
    assert found.is_settled and found.have == 2, "who was late is asked, and not waited for again"
    here.named["good"] = Point("x", problem="no answer")
    here.now += 40
    again = Others(tmp_path, **here.named)
    again.now = here.now
    assert "good last seen 40 s ago held sequence 12" in "\n".join(again.fleet.reach(12).lack), "told after a restart too"  # fmt: skip


def test_what_never_had_it_has_nothing_to_let_go(tmp_path: Path) -> None:
    here = Others(tmp_path, a=has(9), b=has(4), c=has(6))
    found = here.fleet.lifted(9, 5)
    assert found.have == 2 and found.lack == ("c holds sequence 6",)


def test_a_guard_that_cannot_be_asked_hides_nothing_of_what_the_others_still_hold(tmp_path: Path) -> None:
    here = Others(tmp_path, other=has(1))
    here.now = 1_000.0
    act = engines.act("quarantine_identity", "k", on="identity", phase="contain", timeout=5.0)
    away = Guard("http://127.0.0.1:9", b"k" * 32, {})
    at = AtGuard(away, tmp_path / "measures.json", sheet_tests.KEY, by="ann", clock=lambda: here.now, fleet=here.fleet)
    held = at.do(act, 2_000.0)["sequence"]
    here.named["other"] = has(held)
    assert at.state(act).word == "unknown"
    here.now += 5
    at.undo(act, {"sequence": 0})
    found = at.state(act)
    assert found.word == "lingers" and f"gone at 0 of the 1 others; other holds sequence {held}" in found.says
    here.now += 5
    here.named["other"] = has(held + 10_000)
    found = at.state(act)
    assert found.word == "unknown" and "gone at 1 of the 1 others" in found.says


def test_what_nobody_can_say_of_an_undo_is_said_and_is_no_proof(tmp_path: Path) -> None:
    places = Places(State("in_effect", "yes"))
    act = engines.act("quarantine_identity", "k", on="identity", phase="contain", timeout=5.0)
    made: Engine = engines.engine(tmp_path, [act], guard=places)
    assert made.run().state == "done"
    places.states = [State("unknown", "it does not answer")]
    assert made.undo().rows[0].says == "taken back, and nobody could say that it is gone: it does not answer"
    assert "proof" not in made.standing(act)[1].body  # type: ignore[union-attr]
    made.journal.close()  # type: ignore[union-attr]


def test_a_scrape_that_is_old_is_what_was_last_seen(tmp_path: Path) -> None:
    page = tmp_path / "far.prom"
    page.write_text('# HELP afterguard_policy_info x\nafterguard_policy_info{policy="p@1",mode="m"} 1\nafterguard_measures_sequence 7\n')  # fmt: skip
    at = page.stat().st_mtime
    fleet = Fleet({"far": str(page), "none": str(tmp_path / "none")}, list, tmp_path / "m", 5.0, lambda: at + 1)
    found = fleet.reach(7)
    assert found.have == 1 and "none was never seen" in found.lack[0]
    fleet = Fleet({"far": str(page)}, list, tmp_path / "m", 5.0, lambda: at + 60)
    assert fleet.reach(7).lack[0].startswith("far last seen 1 min ago held sequence 7")


@hypothesis_settings(deadline=None)
@given(st.text(max_size=400), st.floats(allow_nan=True, allow_infinity=True), st.text(max_size=40))
def test_no_page_is_a_defect(text: str, number: float, label: str) -> None:
    page = f'afterguard_policy_info{{policy="{label}",mode="m"}} 1\nafterguard_measures_sequence {number}\nafterguard_measures {number}\nafterguard_measures_stale {number}\n{text}'
    found = points.point("a", page, 1e9)
    assert list(points.lines([found]))


def test_a_guard_has_what_all_its_workers_have() -> None:
    workers = [Metrics() for _ in range(3)]
    for one, sequence in zip(workers, (9, 7, 9), strict=True):
        one.set("afterguard_measures_sequence", sequence)
        one.set("afterguard_measures_stale", float(sequence == 7))
    whole = Metrics()
    for one in workers:
        whole.join(one.all())
    found = points.point("a", 'afterguard_policy_info{policy="p",mode="m"} 1\n' + whole.page().decode(), 1.0)
    assert found.measures == 7 and found.is_measures_stale


def test_points_say_which_measures_they_have() -> None:
    page = 'afterguard_policy_info{{policy="p@1",mode="m"}} 1\nafterguard_measures_sequence {n}\nafterguard_measures 2\nafterguard_measures_created_timestamp_seconds 1000\n{more}'
    pulled = "afterguard_measures_pulled_timestamp_seconds 1590\nafterguard_measures_stale {stale}\n"
    one, two, three = (
        points.point("a", page.format(n=n, more=pulled.format(stale=stale)), 1_600.0)
        for n, stale in ((7, 0), (5, 0), (7, 1))
    )
    assert list(points.lines([one, two]))[1::2] == [
        "  measures: sheet 7, 2 hold, made 10 min ago, pulled 10 s ago, not stale",
        "  measures: sheet 5, 2 hold, made 10 min ago, pulled 10 s ago, not stale, BEHIND",
    ]
    assert points.odd([one, msgspec.structs.replace(two, at="b")]) == ["b"] and points.odd([three]) == ["a"]
    alone = points.point("c", page.format(n=3, more=""), 1_600.0)
    assert list(points.lines([alone]))[1] == "  measures: sheet 3, 2 hold, made 10 min ago, not pulled"
    assert points.odd([one, alone]) == [], "a sheet of its own is behind nobody's"


# The engine, where an act has to take effect in several places.


class Places:
    """An adapter whose state is what stands next in a list."""

    def __init__(self, *states: State) -> None:
        self.states, self.did = list(states), []  # type: ignore[var-annotated]

    def objections(self, act: Any) -> list[str]:
        return []

    def before(self, act: Any) -> dict[str, Any]:
        return {}

    def do(self, act: Any, until: float) -> dict[str, Any]:
        self.did.append("do")
        return {}

    def undo(self, act: Any, before: Any) -> dict[str, Any]:
        self.did.append("undo")
        return {}

    def state(self, act: Any) -> State:
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]

    def is_repeatable(self, act: Any) -> bool:
        return True

    def is_provable(self, act: Any) -> bool:
        return True


def test_what_is_not_everywhere_is_partly_done_and_asked_again(tmp_path: Path) -> None:
    places = Places(State("not", "no"), State("partly", "1 of 2"), State("partly", "1 of 2, late", True))
    act = engines.act("quarantine_identity", "k", on="identity", phase="contain", timeout=20.0)
    made: Engine = engines.engine(tmp_path, [act, engines.act("call", "a", hook="good")], {"good": engines.marker(tmp_path)}, guard=places)  # fmt: skip
    ran = made.run()
    assert ran.state == "partly" and [one.state for one in ran.rows] == ["partly", "done"], "the run goes on"
    assert ran.rows[0].says == "1 of 2, late" and made.dry().rows[0].state == "partly"
    written = len(made.lines)
    assert made.run() == ran and len(made.lines) == written, "what is asked again and is the same is not written again"
    places.states = [State("partly", "1 of 3", True)]
    assert made.run().rows[0].says == "1 of 3" and len(made.lines) == written + 2
    places.states = [State("in_effect", "2 of 2")]
    ran = made.run()
    assert ran.state == "done" and ran.rows[0].says == "2 of 2" and places.did == ["do"], "it is not done twice"
    places.states = [State("lingers", "still at 1", True)]
    ran = made.undo([act.id])
    assert ran.state == "partly" and made.standing(act)[0] == "undo_begun"
    places.states = [State("not", "gone")]
    assert made.undo([act.id]).state == "done" and made.standing(act)[0] == "undone"
    made.journal.close()  # type: ignore[union-attr]


def test_what_the_settings_do_not_name_any_more_is_said_and_stays_as_it_was(tmp_path: Path) -> None:
    places = Places(State("partly", "1 of 2", True))
    act = engines.act("quarantine_identity", "k", on="identity", phase="contain", timeout=5.0)
    made: Engine = engines.engine(tmp_path, [act], guard=places)
    assert made.run().state == "partly"
    made.adapters = {name: one for name, one in made.adapters.items() if name != "guard"}
    for ran in (made.run(), made.undo()):
        assert ran.state == "failed" and "the settings name no guard any more" in ran.rows[0].says
    assert made.standing(act)[0] == "partly", "and can be taken back with the right ones"
    made.journal.close()  # type: ignore[union-attr]


def test_what_held_in_part_and_is_over_is_not_done_again(tmp_path: Path) -> None:
    places = Places(State("partly", "1 of 2", True))
    act = engines.act("quarantine_identity", "k", on="identity", phase="contain", ttl=100.0)
    made: Engine = engines.engine(tmp_path, [act], guard=places)
    made.clock = lambda: 1_000.0
    assert made.run().state == "partly" and made.expire().rows == ()
    made.clock = lambda: 1_101.0
    assert made.run().rows[0].state == "skipped"
    places.states = [State("lingers", "the other is away", True)]
    assert made.expire().rows[0].state == "expired", "it ends by itself, also where nobody can be told"
    made.journal.close()  # type: ignore[union-attr]


# The source, without a network.


def pulled(sequence: int, *rows: Measure) -> bytes:
    return measures.written(measures.sign(Sheet(sequence, 1.0, rows), sheet_tests.KEY))


def source(folder: Path, file: Path, **more: Any) -> Sheets:
    found = sheets_of(
        GuardConfig(measures=f"file:{file}", responder_keys=sheet_tests.TRUSTED, **more), folder, b"s" * 32
    )
    assert found is not None
    return found


def test_what_is_taken_only_grows(tmp_path: Path) -> None:
    file, folder = tmp_path / "shown.json", tmp_path / "guard"
    one = source(folder, file)
    one.first()
    assert one.state().outcome == "unreachable" and one.touched(60.0) == (0.0, True)
    row = Measure("q", "deny_identity", "abc", 4e9, "stolen")
    for data, outcome in (
        (pulled(5, row), "changed"), (pulled(5, row), "unchanged"), (pulled(4), "older"), (pulled(5), "forked"), (b"<html>", "unreadable"),
        (b" " * (measures.CAP + 1), "unreachable"), (pulled(6, Measure("c", "quota", "abc", 4e9, "r", "many")), "unreadable"), (pulled(6), "changed"),
    ):  # fmt: skip
        file.write_bytes(data)
        assert one.once() == outcome, one.state()
    file.unlink()
    assert one.once() == "unreachable" and not one.touched(60.0)[1]
    one.file.unlink()
    file.write_bytes(pulled(5, row))
    assert one.once() == "older", "a sheet that is lost does not take back what was taken"
    file.write_bytes(pulled(6))
    assert one.once() == "unchanged" and one.file.exists(), "and is fetched again"
    one.file.write_bytes(pulled(9).replace(b'"sequence": 9', b'"sequence": 8'))
    assert one.once() == "unchanged" and measures.read(one.file.read_bytes(), one.trusted).sequence == 6


def test_beyond_this_machine_it_takes_tls_and_a_host_that_is_allowed(tmp_path: Path) -> None:
    for settings, says in (
        ({"measures": "http://soc.example/m.json"}, "without TLS"),
        ({"measures": "https://soc.example/m.json", "policy_hosts": ["policies.example"]}, "not among"),
    ):
        with pytest.raises(UsageError, match=says):
            sheets_of(GuardConfig(**settings), tmp_path, b"s" * 32)  # type: ignore[arg-type]
    assert sheets_of(GuardConfig(measures="/srv/measures.json"), tmp_path, b"s" * 32) is None
