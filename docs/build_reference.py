"""Writes the generated pages of docs/reference from the code; tests/test_docs.py fails when they are stale.

python docs/build_reference.py          writes cli.md, settings.md, rules.md, metrics.md, techniques.md, playbooks.md
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from afterguard import config, names

HERE = Path(__file__).parent / "reference"
SOURCE = Path(config.__file__)
NOTE = "<!-- Made by docs/build_reference.py; change the code, then run it. -->\n\n"


def cli() -> str:
    """Every command with its options, as --help prints them."""
    from rich.console import Console

    from afterguard.cli.app import COMMANDS, app

    out = [NOTE, "# Commands\n"]
    for words in commands([name for name, _, _ in COMMANDS]):
        console = Console(width=110, color_system=None, force_terminal=False, legacy_windows=False)
        with console.capture() as capture:
            app.help_print(words, console=console)
        text = "\n".join(line.rstrip() for line in capture.get().splitlines()).strip()
        out.append(f"\n## afterguard {' '.join(words)}\n\n```text\n{text}\n```\n")
    return "".join(out)


def commands(tops: list[str]) -> Iterator[list[str]]:
    """Every command path: ["scan"], ["config", "show"]..."""
    from afterguard.cli.app import app

    for top in tops:
        inner = app[top]
        below = [name for name in inner if not name.startswith("-")]
        yield [top]
        for name in below:
            yield [top, name]


def settings() -> str:
    """Every setting with type, default, environment variable and meaning."""
    meanings = attribute_texts(SOURCE)
    defaults = msgspec.to_builtins(config.Config())
    out = [
        NOTE,
        "# Settings\n\nIn `afterguard.toml`, in `[tool.afterguard]` of `pyproject.toml`, or, what is no list and no table, as an environment variable. ",
        "A flag beats the environment, the environment beats the file. `afterguard config show --origin` says what holds.\n\n",
        "| setting | default | environment | meaning |\n|---|---|---|---|\n",
    ]
    owners = {
        "store": "StoreConfig",
        "evidence": "EvidenceConfig",
        "scan": "ScanConfig",
        "detect": "DetectConfig",
        "guard": "GuardConfig",
        "limits": "LimitsConfig",
        "risk": "RiskConfig",
    }
    for key in config.settings():
        head, _, last = key.rpartition(".")
        value: Any = defaults
        for part in key.split("."):
            value = value[part]
        meaning = meanings[owners.get(head, "Config")].get(last or key, "")
        shown = msgspec.json.encode(value).decode()
        variable = f"`{config.variable(key)}`" if config.variable(key) else "-"
        out.append(f"| `{key}` | `{shown}` | {variable} | {meaning} |\n")
    out.append("\n## Exceptions\n\nEach `[[suppress]]` has:\n\n| key | meaning |\n|---|---|\n")
    out += [f"| `{name}` | {text} |\n" for name, text in meanings["Suppression"].items()]
    return "".join(out)


def attribute_texts(path: Path) -> dict[str, dict[str, str]]:
    """Class -> attribute -> the string literal below it."""
    out: dict[str, dict[str, str]] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            rows = out.setdefault(node.name, {})
            for one, after in zip(node.body, node.body[1:]):
                text = after.value if isinstance(after, ast.Expr) else None
                named = isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)
                if named and isinstance(text, ast.Constant) and isinstance(text.value, str):
                    rows[one.target.id] = " ".join(text.value.split())
    return out


def rules() -> str:
    """Every check and detector: what, why, fix, ids."""
    from afterguard.detect import DETECTORS
    from afterguard.jobs.rules import checks as every_check

    out = [
        NOTE,
        "# Rules\n\nChecks look at what is built (`afterguard scan`), detectors at what happened (`afterguard lookback`).\n\n## Checks\n",
    ]
    for check in every_check():
        out.append(
            f"\n### {check.id}\n\n{_anchor(check.id)}{check.title}. Severity {check.severity}"
            + (", shown with `--persona auditor`" if check.persona == "auditor" else "")
            + f".\n\nWhy: {check.why}\n\nFix: {check.fix}\n\nReads: {', '.join(check.kinds)}.\n\n{_ids(check.taxonomies)}"
        )
    out.append("\n## Detectors\n")
    for one in sorted(DETECTORS, key=lambda one: one.id):
        kinds = ", ".join(f"`{kind}`" for kind in one.kinds)
        out.append(
            f"\n### {one.id}\n\n{_anchor(one.id)}{one.why}\n\nIncident kinds: {kinds}. Worst severity: {one.severity}.\n\n{_ids(one.taxonomies)}"
        )
    out.append(_watched())
    return "".join(out)


def _watched() -> str:
    """Every kind that the watch over time raises."""
    from afterguard.watch.kinds import NEVER, OTHER, RULES, SAID

    out = [
        "\n## The watch over time\n\nWhat is raised when one goes far over its own past and its peers (see [how it decides](../explanation/watch.md)). "
        "The floors are the least excess over the usual that counts.\n"
    ]
    for rule in RULES:
        floors = ", ".join(f"{f:,.0f} in {said}" for f, said in zip(rule.floors, SAID, strict=True) if f != NEVER)
        out.append(
            f"\n### {rule.kind}\n\n{_anchor(rule.kind)}Counts {rule.says}, of each {', '.join(rule.scopes)}. Severity {rule.severity}. "
            f"At least {rule.times:g} times what can be expected, and {floors}.\n\nWould change it: {rule.would_change}.\n\n{_ids(rule.taxonomies)}"
        )
    out += [f"\n### {kind}\n\n{_anchor(kind)}{says[0].upper() + says[1:]}.\n" for kind, says in OTHER.items()]
    return "".join(out)


def _anchor(rule: str) -> str:
    """The word that `helpUri` in SARIF points at."""
    return f'<a id="{rule.replace("-", "_")}"></a>'


def _ids(taxonomies: tuple[str, ...]) -> str:
    return "Taxonomies: " + "; ".join(names.describe(one) for one in taxonomies) + ".\n"


def metrics() -> str:
    """Every metric of the guard."""
    from afterguard.guard.metrics import BOUNDS, METRICS

    out = [
        NOTE,
        "# Metrics\n\nWhat the guard counts, at `/metrics`, in the text format of Prometheus. Whichever worker answers, the numbers are those of all workers of this guard, of those that were replaced too: counters begin at 0 when the guard starts, and do not go back when a worker is killed. What a killed worker counted in its last half second is missing.\n\n",
        "| metric | kind | labels | meaning |\n|---|---|---|---|\n",
    ]
    for name, one in METRICS.items():
        labels = ", ".join(f"`{label}`" for label in one.labels)
        out.append(f"| `{name}` | {one.kind} | {labels} | {one.says} |\n")
    bounds = ", ".join(f"{bound:g}" for bound in BOUNDS)
    out.append(
        f"\nBuckets of the histograms, in seconds: {bounds}.\n\nReasons of unjudged parts are in [the guard](guard.md#unjudged).\n"
    )
    return "".join(out)


def techniques() -> str:
    """Every technique of `afterguard attack`."""
    from afterguard.attack.scoring.techniques import TECHNIQUES as SCORING
    from afterguard.attack.techniques import ALL

    out = [
        NOTE,
        "# Techniques\n\nWhat `afterguard attack` tries ([how to](../how-to/attack.md)). Each needs what the target file says under the names given here; what is not said is not tried. ",
        "`changes` marks those that leave something behind or make a tool act: they need `--changes` in the owner's leave. Those that need an `example` are for a tool that is called directly (kind `mcp`).\n\n",
        "| technique | what it shows | forms | needs | severity | taxonomies | rule |\n|---|---|---|---|---|---|---|\n",
    ]
    for one in sorted(ALL, key=lambda one: (one.kind, one.id)):
        needs = ", ".join(sorted(one.needs)) + ("" if one.is_read_only else (", " if one.needs else "") + "**changes**")
        out.append(
            f"| {_anchor(one.id).strip()}`{one.id}` | {one.title} ({one.kind}) | {', '.join(one.variants)} | {needs} | {one.severity} | {', '.join(one.taxonomies)} | {f'`{one.rule}`' if one.rule else 'none: only the fix'} |\n"
        )
    out += [
        "\n## Predictive models\n\nWhat is tried of a target with a part `scoring` ([how to](../how-to/attack.md#predictive-models)). `scores`, `refused` and `both` are what the model has to answer to honest rows; ",
        "the rule is one of [those for predictive models](../how-to/predictive.md#act-on-it). A trial takes at most so many requests, where each holds one row.\n\n",
        "| technique | what it shows | forms | needs | severity | requests | taxonomies | rule |\n|---|---|---|---|---|---|---|---|\n",
    ]
    for two in sorted(SCORING, key=lambda one: (one.kind, one.id)):
        out.append(
            f"| `{two.id}` | {two.title} ({two.kind}) | {', '.join(two.variants)} | {', '.join(sorted(two.needs))} | {two.severity} | {two.rows} | {', '.join(two.taxonomies)} | `{two.rule}` |\n"
        )
    return "".join(out)


def playbooks() -> str:
    """Every playbook and every kind of act."""
    from afterguard.respond.kinds import KINDS
    from afterguard.respond.playbook import shipped

    books = shipped()
    out = [
        NOTE,
        "# Playbooks\n\nWhat `afterguard respond` does in an incident ([how to](../how-to/respond.md)). Each is a YAML file in the catalogue, and CACAO 2.0 with `afterguard respond playbooks ID --cacao`. ",
        "A folder of your own (`playbooks` in `respond.yaml`) adds some or takes the place of those with the same id.\n\n## Which for which alert\n\n",
        "An alert about the many hits of one identity, conversation or document (`hits_of_one_...`) takes the playbooks of the worst kinds inside it, and those below where it names none. An alert of a rule of your own (`sigma_rule`) takes those that share most with the rule's tags ",
        "(ATLAS, ATT&CK, OWASP with its year, CWE: see the taxonomies below). What nobody wrote a playbook for is answered by [unknown-alert](#unknown-alert), and said to be.\n\n| kind of alert | playbooks |\n|---|---|\n",
    ]
    for kind in sorted({one for book in books for one in book.triggers}):
        names_of = ", ".join(f"[{book.id}](#{book.id})" for book in books if kind in book.triggers)
        out.append(f"| `{kind}` | {names_of} |\n")
    for book in books:
        decide = "".join(f"- {one}\n" for one in book.decide)
        out.append(
            f"\n## {book.id}\n\n**{book.title}.** {book.says}\n\nDecide first:\n\n{decide}\n| phase | step | does | on | asks | ends after |\n|---|---|---|---|---|---|\n"
        )
        for step in book.steps:
            asks = f"{step.approvals} x {step.role}" if step.approvals else ""
            ends = f"{step.ttl / 3600:g} h" if step.ttl else ""
            optional = " (only with `--with`)" if step.optional else ""
            out.append(
                f"| {step.phase} | `{step.id}`{optional}: {step.says} | `{step.do}` | {step.on}{'' if step.which == 'all' else f', {step.which}'} | {asks} | {ends} |\n"
            )
        out.append(f"\nMoney: {book.money}\n")
        if book.taxonomies:
            out.append(f"\nTaxonomies: {', '.join(book.taxonomies)}.\n")
    out.append(
        "\n## Acts\n\n`harsh` goes from 0 (touches nobody) to 5 (stops everybody); what is 3 or more asks somebody else first.\n\n| act | what it does | on | through | proof | undo | harsh |\n|---|---|---|---|---|---|---|\n"
    )
    for name, kind in KINDS.items():
        out.append(
            f"| `{name}` | {kind.says} | {', '.join(kind.on)} | {kind.through} | {kind.proof} | {kind.undo or 'none'} | {kind.harsh} |\n"
        )
    return "".join(out)


PAGES = {
    "playbooks.md": playbooks,
    "techniques.md": techniques,
    "cli.md": cli,
    "settings.md": settings,
    "rules.md": rules,
    "metrics.md": metrics,
}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")
