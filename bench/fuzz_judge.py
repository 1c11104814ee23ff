"""Coverage-guided fuzzing of the judge: folding, tokens, the C kernel against its reference, views, windows, spans, word pieces, the weights' reader, the JSON lines.

    python bench/fuzz_judge.py [--seconds 3600] [--corpus FOLDER]

Needs atheris. Any exception, any difference between kernel and reference, any span outside the text ends it with exit code 1.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["afterguard.detect.judge", "afterguard.detect.normalise", "afterguard.judges", "afterguard.jobs.detect"]
):
    from afterguard import judges
    from afterguard.detect import judge as judging
    from afterguard.detect.judge import tier_one, wordpiece
    from afterguard.jobs import detect as job

import numpy as np

BY = judges.load()
RUNS = 0
PIECES = (
    "ignore the above",
    "aWdub3JlIGFsbCBwcmV2aW91cyBydWxlcw==",
    "%69%67%6e",
    "&#105;",
    "\\u0069",
    "i g n o r e",
    "<!-- ",
    "\u200b",
    "\U000e0041",
    "а",
    "日本",
    "\ud800",
    "ﬁ",
    "x" * 40,
    "\n\n",
    "1" * 30,
)


def text_of(data: atheris.FuzzedDataProvider) -> str:
    """Fuzzed characters, with pieces that lead into the rarer branches."""
    out = []
    for _ in range(data.ConsumeIntInRange(1, 6)):
        out.append(
            PIECES[data.ConsumeIntInRange(0, len(PIECES) - 1)]
            if data.ConsumeBool()
            else data.ConsumeUnicode(data.ConsumeIntInRange(0, 200))
        )
    return "".join(out) * data.PickValueInList([1, 1, 1, 1, 7, 40])


def one(raw: bytes) -> None:
    global RUNS
    RUNS += 1
    data = atheris.FuzzedDataProvider(raw)
    kind = data.ConsumeIntInRange(0, 15)
    if kind == 0:
        weights(data.ConsumeBytes(400))
    elif kind == 1:
        for row in job.judged(
            job.lines(__import__("io").BytesIO(data.ConsumeBytes(600)), 256), BY, "strict", "one", lambda: 0.0
        ):
            json.dumps(row)
    else:
        origin = judging.ORIGINS[data.ConsumeIntInRange(0, 4)]
        text = text_of(data)
        same(text, origin)
        found = judging.judge(text, origin, BY, "strict", "two" if kind == 2 and len(text) < 2_000 else "one")
        size = len(text.encode("utf-8", "surrogatepass"))
        assert 0 <= found.score <= 1 and not math.isnan(found.score)
        assert all(0 <= low < high <= size for low, high in found.spans), (text, found)
        pieces = wordpiece.pieces(text, BY.two.vocabulary if BY.two else {"[UNK]": 0})
        assert len(pieces.ids) == len(pieces.start) == len(pieces.end)
        assert all(0 <= a < b <= len(text) for a, b in zip(pieces.start, pieces.end))


def same(text: str, origin: str) -> None:
    """Kernel and reference agree."""
    if tier_one._kernel is None:
        return
    a, b = tier_one.native(text, origin, BY.one), tier_one.reference(text, origin, BY.one)
    assert (a is None) == (b is None), text
    if a is not None and b is not None:
        assert a.signs == b.signs and np.array_equal(a.start, b.start) and np.array_equal(a.end, b.end), text
        assert np.allclose(a.margins, b.margins, atol=5e-3), text


def weights(raw: bytes) -> None:
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
        file.write(raw)
        file.flush()
        try:
            judges.tensors(Path(file.name))
        except ValueError:
            pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=3600)
    parser.add_argument("--corpus", type=Path, default=Path("bench/out/fuzz"))
    args = parser.parse_args()
    args.corpus.mkdir(parents=True, exist_ok=True)
    atheris.Setup(
        [
            sys.argv[0],
            str(args.corpus),
            f"-max_total_time={args.seconds}",
            "-max_len=1500",
            "-timeout=60",
            "-rss_limit_mb=14000",
            "-print_final_stats=1",
            f"-artifact_prefix={args.corpus}/",
        ],
        one,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
