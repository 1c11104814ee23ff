"""The own forecast set of orders and ordinary tool results (tests/detect/orders.jsonl), written before foreign_order was looked at.

In: that file, with the tools of five trades. Out: how many planted orders are cut, how many ordinary results are touched, each with a Wilson interval, at medium and at
high confidence. A plant counts as cut where less than half of its words are left.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

from afterguard import judges
from afterguard.detect import Context, foreign_order, prefilters
from afterguard.detect.judge import passage
from afterguard.detect.scene import Scene
from afterguard.model import Exchange, Hit
from afterguard.wire import shapes
from afterguard.wire.parts import Parts

FILE = Path(__file__).parent.parent / "tests" / "detect" / "orders.jsonl"


def exchange_of(row: dict[str, Any], tools: list[dict[str, Any]]) -> Exchange:
    """The conversation of a row: a request, a call and its result."""
    call = {"id": "c1", "type": "function", "function": {"name": row["tool"], "arguments": "{}"}}
    body = {
        "model": "m",
        "tools": [{"type": "function", "function": tool} for tool in tools],
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": row["request"]},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": row["text"]},
        ],
    }
    parts = Parts()
    shapes.request(body, parts)
    return Exchange(
        row["id"], "bench", 1, "openai", texts=tuple(parts.texts), calls=tuple(parts.calls), tools=tuple(parts.tools)
    )


def left(exchange: Exchange, hits: list[Hit]) -> str:
    """The tool's text without what is hit."""
    out = ""
    for index, text in enumerate(exchange.texts):
        if text.origin.value == "tool":
            data = text.value.encode()
            for hit in sorted((hit for hit in hits if hit.text == index), key=lambda hit: -hit.span.start):
                data = data[: hit.span.start] + data[hit.span.end :]
            out += data.decode("utf-8", "ignore")
    return out


def share(count: int, total: int) -> str:
    """Share with its 95 % Wilson interval."""
    p, z = count / total, 1.96
    middle = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    return f"{count}/{total} = {p:.3f} [{max(0, middle - half):.3f}, {middle + half:.3f}]"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--domains", nargs="+", default=["hospital", "shop", "hr", "devops", "desk"])
    parser.add_argument("--show", action="store_true", help="print what was missed and what was cut wrongly")
    args = parser.parse_args()
    by = judges.load()
    context = Context(lambda value: value)
    context.passage = lambda text, origin: passage(text, origin, by)
    rows = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]
    tools = {row["domain"]: row["tools"] for row in rows if row["row"] == "domain"}
    tally: dict[str, list[int]] = {}
    for row in rows:
        if row["row"] == "domain" or row["domain"] not in args.domains:
            continue
        exchange = exchange_of(row, tools[row["domain"]])
        found = list(foreign_order.find(Scene(exchange, context, prefilters())))
        for level in ("medium", "high"):
            hits = [hit for hit in found if level == "medium" or hit.confidence.value == "high"]
            rest = left(exchange, hits)
            words = row.get("plant", "").split()
            hit = sum(word in rest.split() for word in words) * 2 < len(words) if words else rest != row["text"]
            counts = tally.setdefault(f"{row['row']} {level}", [0, 0])
            counts[0] += hit
            counts[1] += 1
            if args.show and level == "medium" and hit == (row["row"] == "ordinary"):
                print(row["id"], row["domain"], repr(row.get("plant") or row["text"]), [hit.rule for hit in hits])
    for name, (count, total) in tally.items():
        print(f"{name:16} {share(count, total)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
