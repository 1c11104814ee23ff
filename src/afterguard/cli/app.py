"""The command tree. Every command is imported only when it runs, so that --help stays fast.

In: nothing. Out: `app`. It holds no logic.
"""

from __future__ import annotations

from cyclopts import App, Group

from afterguard import __version__

LOOK = Group.create_ordered("Find out")
LIVE = Group.create_ordered("Guard what is live")
KEEP = Group.create_ordered("Keep and configure")

app = App(
    name="afterguard",
    help="Security for AI applications that are already in production. Offline, no telemetry, no account.",
    version=__version__,
    help_format="plaintext",
    help_epilogue=(
        "Start with: afterguard onboard PATH --logs LOG\n"
        "Exit codes: 0 done, 1 internal error, 2 usage, 3 nothing to examine, 4 unreachable, 5 the leave has ended, 10 gate failed (--fail-on)."
    ),
)
app["--help"].group = KEEP
app["--version"].group = KEEP

COMMANDS = (
    (
        "onboard",
        LOOK,
        "Everything at once: what runs, what has happened, what is wrong, what it can cost, what to do first.",
    ),
    ("discover", LOOK, "What AI runs here: code, infrastructure, agent configuration, model files, traffic, bills."),
    ("lookback", LOOK, "What has already happened: suspected incidents in recorded AI traffic."),
    ("scan", LOOK, "What is wrong: posture checks over code, infrastructure and agent configuration."),
    ("attack", LOOK, "What a live application gives way to: within its owner's leave, with intervals."),
    ("detect", LOOK, "Judge texts from a stream: prompt injection, jailbreak, prompt extraction."),
    ("guard", LIVE, "Stand between application and model: observe, shadow, enforce."),
    ("policy", LIVE, "What may be said and done: test, explain, backtest, promote."),
    ("watch", LIVE, "What needs a person: alerts from decision logs, few and each once."),
    ("respond", LIVE, "An incident, step by step: evidence, containment that is proven, undo."),
    ("export", LIVE, "What goes to the SOC: alerts, cases and decision logs in its formats; sinks and their spools."),
    ("history", KEEP, "Recorded runs, and what changed between them."),
    ("evidence", KEEP, "Encrypted originals: list, read, hold, sweep, erase."),
    ("rules", KEEP, "Every check and detector: list, show."),
    ("config", KEEP, "What is set and where each value came from."),
    ("doctor", KEEP, "Whether this installation can do its work, and what is missing."),
)
for name, group, text in COMMANDS:
    app.command(f"afterguard.cli.{name}:{name}", name=name, group=group, help=text)
