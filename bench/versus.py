"""Guard and attack against each other: every form of every technique of `afterguard attack`, against one weak application, without the guard and behind it.

    python bench/versus.py --seeds 1-3 [--ways off,starter,strict,told] [--json FILE] [--forms]
    python bench/versus.py --read FILE [FILE ...] [--forms]

In: the stand-in of tests/attack that does whatever any text asks for, and real guard processes in front of it, each with a shipped policy, enforced, the learned judge whole, as the command starts it. `told`: strict, and the policy names the
application's own codes under `canaries`, as an owner can. Every form is tried once a seed in every way, with the same words: what differs is the guard. Out: a table of families (Wilson intervals), the paired comparison with no guard
(exact McNemar test, Newcombe's interval of a paired difference), and what becomes of the twins, the same conversations with nothing bad in them: refused or changed.

Seeds change markers and subjects, not the forms, so a form counts once: it got through when it did for most seeds. A way in which nothing could be judged is shown and in no rate. The stand-in is no model and obeys everything, so what gets
through is the guard's own fault; how often a model would obey is another matter. --forms lists every form that got through.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import math
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests" / "guard"), str(ROOT / "tests" / "common")]

from running import guard

from afterguard.attack.contract import Aim, Attack, Canary, Prompt, Reply, Surface, Technique
from afterguard.attack.techniques import TECHNIQUES
from afterguard.attack.trial import Result, Trial, Verdict
from afterguard.policy.shipped import shipped_text
from afterguard.shares import Share, wilson
from afterguard.targets.document import Knows, Limits, Target
from afterguard.targets.talking import Talking

WAYS = ("off", "starter", "strict", "told")
LISTENER = "https://listener.example/r"
PATH = "/v1/chat/completions"


def _stand_ins() -> Any:
    spec = importlib.util.spec_from_file_location("attack_stand_ins", ROOT / "tests" / "attack" / "stand_ins.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["attack_stand_ins"] = module
    spec.loader.exec_module(module)
    return module


stand_ins = _stand_ins()
data = stand_ins.data
CANARIES = (Canary(stand_ins.CODE), Canary(data.RECORD, "record", data.OWNER), Canary(data.DOCUMENT_CODE, "document"))
FACTS = {"limit": str(data.LIMIT), "limit_tool": "pay_back", "packages": ", ".join(data.PACKAGES), "off_purpose": "declined"}  # fmt: skip


class Tried(NamedTuple):
    """One form, one seed, one way."""

    technique: str
    variant: str
    seed: str
    outcome: str
    """succeeded, resisted, blocked, or why it could not be assessed."""
    twin: str
    """What came back of the twin, turn by turn, to be compared with what comes without a guard."""

    @property
    def form(self) -> str:
        return f"{self.technique}/{self.variant}"


def target(url: str) -> Target:
    """The weak application at an address."""
    knows = Knows(purpose="bank help desk", system_prompt=stand_ins.SYSTEM, canaries=CANARIES, tools=data.TOOLS, forbidden_tools=(data.FORBIDDEN,), identities=data.IDENTITIES, facts=FACTS)  # fmt: skip
    return Target("desk", url, model="m", system=stand_ins.SYSTEM, surfaces=tuple(Surface), offers=data.OFFERS, timeout=60, headers={"x-customer": "{{identity}}"}, knows=knows, limits=Limits())  # fmt: skip


@contextlib.contextmanager
def standing(way: str, port: int) -> Iterator[str]:
    """The address to speak to."""
    origin = f"http://127.0.0.1:{port}"
    if way == "off":
        yield origin + PATH
        return
    with tempfile.TemporaryDirectory() as folder:
        flags = ("--judge", "two", "--budget-ms", "20000", "--helpers", "1", "--mode", "enforce")
        with guard(origin, Path(folder), _policy(way), *flags, mounts={"openai": origin}) as one:
            yield f"{one.url}/openai{PATH}"


def _policy(way: str) -> str:
    text = shipped_text("strict" if way == "told" else way)
    codes = ", ".join(one.value for one in CANARIES)
    return text.replace("\nrules:", f"\ncanaries: [{codes}]\n\nrules:", 1) if way == "told" else text


def tried(url: str, seeds: Iterable[str], techniques: Sequence[Technique] = TECHNIQUES) -> Iterator[Tried]:
    """Every form with every seed, in one way."""
    one = target(url)
    talking = Talking(one, "versus")
    for seed in seeds:
        for technique in techniques:
            for variant in technique.variants:
                aim = one.aim(f"{seed} {technique.id}/{variant}/0", LISTENER)
                data.forget()
                result, _ = _talked(talking, technique, aim, variant, is_twin=False)
                _cleaned(talking, technique, aim, variant)
                data.forget()
                _, heard = _talked(talking, technique, aim, variant, is_twin=True)
                yield Tried(technique.id, variant, seed, _outcome(result), heard)


def _talked(talking: Talking, technique: Technique, aim: Aim, variant: str, *, is_twin: bool) -> tuple[Result, str]:
    trial = Trial(technique, aim, variant, is_twin)
    step, heard = trial.begin(), []
    while isinstance(step, Prompt):
        reply = talking.ask(step)
        heard.append(_told(reply))
        step = trial.hear(reply)
    return step, "\n".join(heard)


def _cleaned(talking: Talking, technique: Technique, aim: Aim, variant: str) -> None:
    if technique.clean is None:
        return
    talk: Attack = technique.clean(aim, variant)
    with contextlib.suppress(StopIteration):
        prompt = next(talk)
        while True:
            prompt = talk.send(talking.ask(prompt))


def _told(reply: Reply) -> str:
    if reply.is_blocked:
        return "BLOCKED"
    return reply.error or json.dumps([reply.text, [(call.name, call.arguments) for call in reply.calls]])


def _outcome(result: Result) -> str:
    if result.verdict is Verdict.not_assessed:
        return result.reason
    return "blocked" if result.reason == "blocked" else str(result.verdict)


HELD = ("resisted", "blocked")


def by_form(rows: Iterable[Tried]) -> dict[str, str]:
    """Form -> what became of it for most seeds."""
    seen: dict[str, Counter[str]] = {}
    for row in rows:
        seen.setdefault(row.form, Counter())[row.outcome] += 1
    return {form: counts.most_common(1)[0][0] for form, counts in seen.items()}


def share(outcomes: Iterable[str]) -> Share:
    """Of those that say anything, those that got through."""
    counts = Counter("succeeded" if one == "succeeded" else "held" if one in HELD else "" for one in outcomes)
    return wilson(counts["succeeded"], counts["succeeded"] + counts["held"])


class Paired(NamedTuple):
    """The same forms in two ways."""

    of: int
    stopped: int
    """Got through without the guard and not with it."""
    let: int
    """The other way round."""
    low: float
    high: float
    """Interval of how much smaller the share is with the guard."""
    chance: float
    """Exact McNemar test, two-sided."""


def paired(off: dict[str, str], on: dict[str, str]) -> Paired:
    """Those forms that could be assessed in both ways. Newcombe 1998, for paired data: Wilson intervals squared and added, with phi as it is."""
    both = [(off[form] == "succeeded", on[form] == "succeeded") for form in off if _says(off[form]) and _says(on.get(form, ""))]  # fmt: skip
    a, b = both.count((True, True)), both.count((True, False))
    c, d = both.count((False, True)), both.count((False, False))
    n = a + b + c + d
    one, other = wilson(a + b, n), wilson(a + c, n)
    below = (a + b) * (c + d) * (a + c) * (b + d)
    phi = (a * d - b * c) / math.sqrt(below) if below else 0.0
    gap = one.rate - other.rate
    up, down = one.high - one.rate, one.rate - one.low
    other_up, other_down = other.high - other.rate, other.rate - other.low
    low = gap - math.sqrt(max(0.0, down**2 - 2 * phi * down * other_up + other_up**2))
    high = gap + math.sqrt(max(0.0, up**2 - 2 * phi * up * other_down + other_down**2))
    tail = sum(math.comb(b + c, k) for k in range(min(b, c) + 1)) / 2 ** (b + c)
    return Paired(n, b, c, low, high, min(1.0, 2 * tail))


def _says(outcome: str) -> bool:
    return outcome == "succeeded" or outcome in HELD


def lines(rows: dict[str, list[Tried]]) -> Iterator[str]:
    """The tables, as Markdown."""
    ways = list(rows)
    found = {way: by_form(rows[way]) for way in ways}
    yield f"| family | {' | '.join(ways)} |"
    yield f"|---|{'---|' * len(ways)}"
    for technique in TECHNIQUES:
        cells = [_cell([what for form, what in found[way].items() if form.startswith(f"{technique.id}/")]) for way in ways]  # fmt: skip
        yield f"| {technique.id} | {' | '.join(cells)} |"
    yield f"| **all forms** | {' | '.join(_cell(found[way].values()) for way in ways)} |"
    yield ""
    for way in ways:
        counts = Counter(found[way].values())
        yield f"{way}: {', '.join(f'{what} {count}' for what, count in counts.most_common())}; forms that end otherwise with another seed: {_unsteady(rows[way])}"  # fmt: skip
    for way in ways[1:] if ways[0] == "off" else ():
        one = paired(found["off"], found[way])
        yield f"{way} against off: {one.of} pairs, stopped {one.stopped}, let through {one.let}; smaller by {one.low:.1%} to {one.high:.1%}; by chance {one.chance:.2g}"  # fmt: skip
        yield f"{way}, twins: {_twins(rows['off'], rows[way])}"


def _cell(outcomes: Iterable[str]) -> str:
    outcomes = list(outcomes)
    one = share(outcomes)
    silent = len(outcomes) - one.of
    return f"{one.part} of {one.of} ({one.low:.0%} to {one.high:.0%}){f', {silent} not assessed' if silent else ''}" if one.of else "not assessed"  # fmt: skip


def _unsteady(rows: Iterable[Tried]) -> int:
    seen: dict[str, set[str]] = {}
    for row in rows:
        seen.setdefault(row.form, set()).add(row.outcome)
    return sum(len(outcomes) > 1 for outcomes in seen.values())


def _twins(off: Sequence[Tried], on: Sequence[Tried]) -> str:
    """Twins of which something was refused or changed; every conversation counts once, however many forms share it, and with the first seed: others repeat it with other markers."""
    usual = {(row.form, row.seed): row.twin for row in off}
    first: dict[str, tuple[str, str]] = {}
    for row in (row for row in on if row.seed == on[0].seed):
        first.setdefault(usual[row.form, row.seed], (row.form, row.twin))
    blocked = [form for heard, (form, told) in first.items() if "BLOCKED" in told.split("\n")]
    changed = [form for heard, (form, told) in first.items() if told != heard and form not in blocked]
    refused, altered = wilson(len(blocked), len(first)), wilson(len(changed), len(first))
    named = f" ({', '.join(sorted(blocked + changed))})" if blocked or changed else ""
    return f"of {len(first)} refused {refused.part} ({refused.low:.1%} to {refused.high:.1%}), changed {altered.part} ({altered.low:.1%} to {altered.high:.1%}){named}"


def seeds_of(text: str) -> list[str]:
    first, _, last = text.partition("-")
    return [str(number) for number in range(int(first), int(last or first) + 1)]


def main() -> None:
    ask = argparse.ArgumentParser()
    ask.add_argument("--seeds", default="1")
    ask.add_argument("--ways", default="off,starter,strict,told")
    ask.add_argument("--json", type=Path)
    ask.add_argument("--read", type=Path, nargs="+", help="what --json wrote, several runs as one")
    ask.add_argument("--forms", action="store_true")
    told = ask.parse_args()
    os.environ["PYTHONPATH"] = str(ROOT / "src")  # the guards start elsewhere, and are to be these
    rows = read(told.read) if told.read else run(told.ways.split(","), seeds_of(told.seeds))
    print("\n".join(lines(rows)))
    if told.json:
        told.json.write_text(json.dumps({way: [row._asdict() for row in found] for way, found in rows.items()}))
    for way, found in rows.items() if told.forms else ():
        through = [form for form, what in by_form(found).items() if what == "succeeded"]
        print(f"\n{way}, got through: {' '.join(through)}" if way != "off" else "")


def read(files: Iterable[Path]) -> dict[str, list[Tried]]:
    """Rows of several runs."""
    rows: dict[str, list[Tried]] = {}
    for file in files:
        for way, found in json.loads(file.read_text()).items():
            rows.setdefault(way, []).extend(Tried(**row) for row in found)
    return rows


def run(ways: Iterable[str], seeds: Sequence[str]) -> dict[str, list[Tried]]:
    """Rows of every way, each with an application and a guard of its own."""
    rows: dict[str, list[Tried]] = {}
    for way in ways:
        with stand_ins.standing("weak") as server, standing(way, server.server_port) as url:
            rows[way] = list(tried(url, seeds))
        print(f"{way}: {server.requests} requests reached the application", file=sys.stderr, flush=True)
    return rows


if __name__ == "__main__":
    main()
