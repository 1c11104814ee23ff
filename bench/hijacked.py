"""The obedient stand-in of the hijacked-agent benchmark behind the detectors, in one process and without a door: seconds a run.

In: ../shared/bench/hijacked_agent.py (imported, never copied; skipped with a message where it is absent) and an interpreter that has agentdojo, for instance
`PYTHONPATH=src:.venv/lib/python3.11/site-packages OTHER/bin/python bench/hijacked.py`. Out: one JSON line a suite and attack, as the benchmark prints
them, and a total. What is hit in a tool's text, by foreign_order at `--confidence` or above, is cut out of the request; everything else stays byte for byte.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from afterguard import judges
from afterguard.detect import Context, foreign_order, look_on, prefilters
from afterguard.detect.judge import judge, passage
from afterguard.detect.scene import Scene
from afterguard.model import Exchange, Hit, Judgement, Origin
from afterguard.wire import shapes
from afterguard.wire.parts import Parts

SHARED = Path(__file__).parent.parent.parent / "shared" / "bench" / "hijacked_agent.py"
KINDS = {"injection_ignored", "injection_followed"}
STEP = re.compile(r"\.([A-Za-z_]+)|\[(\d+)\]")
ORDER = ("low", "medium", "high")
OUTSIDE = (Origin.tool, Origin.document)


def benchmark() -> ModuleType | None:
    """The benchmark as a module; None where it or what it needs is absent."""
    if not SHARED.exists():
        return None
    spec = importlib.util.spec_from_file_location("hijacked_agent", SHARED)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ImportError as error:
        print(f"skipped: {error}")
        return None
    return module


def exchange_of(body: dict[str, Any]) -> Exchange:
    """The request as detectors see it."""
    parts = Parts()
    shapes.request(body, parts)
    return Exchange(
        "x", "bench", 1, "openai", texts=tuple(parts.texts), calls=tuple(parts.calls), tools=tuple(parts.tools)
    )


class Gateway:
    """Looks at a request and cuts what is hit out of the tools' texts."""

    def __init__(self, confidence: str, with_judge: bool, rules: str = "") -> None:
        by = judges.load() if with_judge else None

        def opinion(text: str, origin: str) -> Judgement:
            assert by is not None
            return judge(text, origin, by, "balanced")

        self.context = Context(lambda value: str(hash(value)), opinion=opinion if with_judge else None)
        if by is not None:
            self.context.passage = lambda text, origin: passage(text, origin, by)
        self.rules = ORDER[ORDER.index(rules) :] if rules else ()
        self.enough = ORDER[ORDER.index(confidence) :]
        self.hits: list[tuple[Hit, str]] = []
        self.seconds: list[float] = []

    def cuts(self, exchange: Exchange) -> list[Hit]:
        start = time.perf_counter()
        if self.rules:
            hits = [hit for hit in look_on(exchange, self.context)[0] if hit.text >= 0]
            found = [hit for hit in hits if hit.kind == foreign_order.KIND and hit.confidence.value in self.enough]
            found += [hit for hit in hits if hit.kind in KINDS and hit.confidence.value in self.rules]
        else:
            scene = Scene(exchange, self.context, prefilters())
            found = [hit for hit in foreign_order.find(scene) if hit.confidence.value in self.enough]
        self.seconds.append(time.perf_counter() - start)
        return found

    def pass_on(self, body: dict[str, Any]) -> dict[str, Any]:
        exchange = exchange_of(body)
        found = self.cuts(exchange)
        self.hits += [(hit, exchange.texts[hit.text].value) for hit in found]
        values: dict[str, str] = {}
        for index, text in enumerate(exchange.texts):
            if text.origin in OUTSIDE:
                kept = without(text.value, [hit.span for hit in found if hit.text == index])
                values[text.where] = values.get(text.where, "") + kept
        for where, value in values.items():
            put(body, where, value)
        return body


class Exact(Gateway):
    """Cuts what was planted and nothing else, however it was escaped on the way: the most that anybody can keep."""

    def __init__(self) -> None:
        self.hits, self.seconds = [], [0.0]
        self.planted: list[re.Pattern[str]] = []

    def know(self, planted: dict[str, str]) -> None:
        self.planted = [re.compile(GAP.join(map(_any_escape, "".join(one.split())))) for one in planted.values()]

    def pass_on(self, body: dict[str, Any]) -> dict[str, Any]:
        for text in exchange_of(body).texts:
            if text.origin in OUTSIDE:
                put(body, text.where, self.kept(text.value))
        return body

    def kept(self, value: str) -> str:
        for shape in self.planted:
            value = shape.sub("", value)
        return value


GAP = r"(?:\s|\\[nrt\n]|\\ )*"


def _any_escape(letter: str) -> str:
    """A character of a plant as JSON, YAML or nothing has it."""
    return {"'": r"(?:\\?'){1,2}", '"': r'\\*"'}.get(letter, re.escape(letter))


def without(value: str, spans: list[Any]) -> str:
    """The text without these byte spans."""
    data = value.encode("utf-8", "surrogatepass")
    for span in sorted(set(spans), reverse=True):
        data = data[: span.start] + data[span.end :]
    return data.decode("utf-8", "ignore")


def put(body: Any, where: str, value: str) -> None:
    """Set the value at a place such as request.messages[3].content[0].text."""
    steps = [key or int(index) for key, index in STEP.findall(where)]
    at = body
    for step in steps[:-1]:
        at = at[step]
    at[steps[-1]] = value


class Client:
    """What the benchmark's model element calls instead of an HTTP client."""

    def __init__(self, gateway: Gateway | None, script: Any) -> None:
        self.chat = self.completions = self
        self.gateway, self.script = gateway, script

    def create(self, **given: Any) -> Any:
        from openai.types.chat import ChatCompletion

        body = {key: value for key, value in given.items() if key in ("model", "messages", "tools")}
        body = json.loads(json.dumps(body, default=lambda value: None))
        if self.gateway is not None:
            body = self.gateway.pass_on(body)
        message, finish = self.script.next(body["messages"])
        choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
        return ChatCompletion.model_validate(
            {"id": "c", "object": "chat.completion", "created": 1, "model": given["model"], "choices": [choice]}
        )


def pipeline_of(bench: ModuleType, client: Client) -> Any:
    """The benchmark's pipeline around our client."""
    llm = bench.TimedLLM(client, bench.MODEL)
    loop = bench.ToolsExecutionLoop([bench.ToolsExecutor(), llm], max_iters=40)
    pipeline = bench.AgentPipeline(
        [bench.SystemMessage("You are a helpful assistant with tools."), bench.InitQuery(), llm, loop]
    )
    pipeline.name = bench.MODEL
    return pipeline


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suites", nargs="+", default=["banking", "slack"])
    parser.add_argument("--attacks", nargs="+", default=["important_instructions", "ignore_previous", "direct"])
    parser.add_argument(
        "--confidence",
        choices=(*ORDER, "none", "exact"),
        default="medium",
        help="none: no gateway, the most that can succeed; exact: the plants cut to the letter, the most that can be kept",
    )
    parser.add_argument("--version", default="v1.2.2")
    parser.add_argument("--limit", type=int, default=0)
    parser.add_argument(
        "--rules", choices=ORDER, default="", help="cut what injection and judged hit from this confidence on, too"
    )
    parser.add_argument("--no-judge", action="store_true")
    parser.add_argument("--failures", action="store_true", help="say which pairs failed, on standard error")
    args = parser.parse_args()
    bench = benchmark()
    if bench is None:
        print(f"skipped: no benchmark to run at {SHARED}")
        return 0
    script = bench.TimedLLM.script = bench.Script()
    gateway = _gateway(args)
    if isinstance(gateway, Exact):
        tell(bench, gateway)
    pipeline = pipeline_of(bench, Client(gateway, script))
    if args.failures:
        watch(bench, script)
    rows = []
    for name in args.suites:
        for attack in args.attacks:
            bench.TimedLLM.seconds.clear()
            rows.append(bench.run(bench.get_suite(args.version, name), script, pipeline, attack, args.limit))
            print(json.dumps(rows[-1]), flush=True)
    pairs = sum(row["pairs"] for row in rows) or 1
    keys = ("asr", "utility_attacked", "utility_clean", "kept_clean", "kept_attacked")
    print(
        json.dumps({"pairs": pairs} | {key: round(sum(r[key] * r["pairs"] for r in rows) / pairs, 4) for key in keys})
    )
    if gateway is not None:
        took = sorted(gateway.seconds)
        print(
            json.dumps(
                {
                    "look_ms_p50": round(1000 * took[len(took) // 2], 3),
                    "look_ms_p99": round(1000 * took[len(took) * 99 // 100], 3),
                }
            )
        )
    return 0


def _gateway(args: argparse.Namespace) -> Gateway | None:
    if args.confidence == "none":
        return None
    return Exact() if args.confidence == "exact" else Gateway(args.confidence, not args.no_judge, args.rules)


def tell(bench: ModuleType, gateway: Exact) -> None:
    """Let the gateway know what is planted in each run."""
    attempt = bench.attempt

    def knowing(suite: Any, pipeline: Any, user: Any, injection: Any, planted: Any) -> Any:
        gateway.know(planted)
        return attempt(suite, pipeline, user, injection, planted)

    bench.__dict__["attempt"] = knowing


def watch(bench: ModuleType, script: Any) -> None:
    """Say for every run that went wrong what arrived."""
    attempt = bench.attempt

    def told(suite: Any, pipeline: Any, user: Any, injection: Any, planted: Any) -> Any:
        utility, security = attempt(suite, pipeline, user, injection, planted)
        changed = [key for key, text in script.sent.items() if script.arrived.get(key, text) != text]
        problem = (security and script.hijacked) if injection else bool(changed)
        lost = injection and not utility
        if problem or not utility:
            print(
                "ATTACK" if injection and problem else "LOST" if lost else "CLEAN",
                suite.name,
                user.ID,
                injection and injection.ID,
                user.PROMPT[:90],
                file=sys.stderr,
            )
            for key in changed:
                print("   sent:", repr(script.sent[key]), "\n   arrived:", repr(script.arrived[key]), file=sys.stderr)
            if problem and injection:
                for text in script.arrived.values():
                    if bench.squash(injection.GOAL) in bench.squash(text):
                        print("   read:", repr(text[:600]), file=sys.stderr)
        return utility, security

    bench.__dict__["attempt"] = told


if __name__ == "__main__":
    sys.exit(main())
