"""How often `afterguard attack` finds what was planted in the fraud model, and how often it claims anything of models that show nothing: rows and seeds that no test and no tuning has seen.

python bench/scored.py [RUNS]      prints one line a stand-in; against nobody: no other tool attacks a scoring endpoint with money, controls and intervals
"""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent.parent / "tests" / "attack" / "test_scoring.py"
FIRST = 19_000
"""Seed of the first run; tests use others."""
FOOLS = ("lot", "constant", "noise", "jitter", "error", "quota")


def main(runs: int) -> None:
    from afterguard.shares import wilson

    spec = importlib.util.spec_from_file_location("bench_test_scoring", HERE)
    assert spec and spec.loader
    tests: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tests)
    for character in ("weak", "mended", *FOOLS):
        hits, tries, requests, found = Counter[str](), Counter[str](), [], []
        for seed in range(FIRST, FIRST + runs):
            with tempfile.TemporaryDirectory() as folder, tests.models.standing(character) as server:
                rows = tests.models.rows
                tests.models.rows = lambda count, _, seed=seed, rows=rows: rows(count, seed)
                try:
                    one = tests.assessed(server, Path(folder), seed=str(seed))
                finally:
                    tests.models.rows = rows
            requests.append(one.requests)
            found.append(len({hit.technique for hit in one.hits} & tests.PLANTED))
            for family in one.families:
                hits[family.technique] += family.succeeded
                tries[family.technique] += family.share.of
            if character == "weak":
                print(json.dumps({each.technique: {figure.name: [round(figure.value, 3), figure.low, figure.high, figure.of] for figure in each.figures} for each in one.measured if each.technique in ("score-evasion", "boundary-evasion", "model-copy")}))  # fmt: skip
        print(character, "runs", runs, "requests", min(requests), "to", max(requests), "planted found", found, "of", len(tests.PLANTED), flush=True)  # fmt: skip
        for id in sorted(tries):
            if tries[id]:
                share = wilson(hits[id], tries[id])
                print(f"  {id}: {share.part} of {share.of} [{share.low:.3f}, {share.high:.3f}]", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
