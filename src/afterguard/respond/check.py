"""What is wrong with a CACAO 2.0 playbook, whoever wrote it: what the official JSON schema lets pass and no engine could run.

In: a decoded JSON value that nobody vouches for. Out: `Problem`s, each with where it is and what to do. It runs nothing, resolves nothing, and is done in time that grows with the file's size.

What the workflow means here: a step goes on at on_completion; with on_success and on_failure it goes on at the one that fits. The branches of parallel, if, switch and while end at an end step of their own,
and then the step that began them goes on. A failure that no step handles goes to workflow_exception.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

Json = Any
STEPS = ("start", "end", "action", "playbook-action", "parallel", "if-condition", "while-condition", "switch-condition")
COMMON = {
    "type", "name", "description", "external_references", "delay", "timeout", "step_variables", "owner", "on_completion", "on_success",
    "on_failure", "step_extensions",
}  # fmt: skip
OWN = {
    "action": {"commands", "agent", "targets", "in_args", "out_args"},
    "playbook-action": {"playbook_id", "playbook_version", "in_args", "out_args"},
    "parallel": {"next_steps"},
    "if-condition": {"condition", "on_true", "on_false"},
    "while-condition": {"condition", "on_true"},
    "switch-condition": {"switch", "cases"},
}
COMMANDS = (
    "manual", "bash", "caldera-cmd", "elastic", "http-api", "jupyter", "kestrel", "openc2-http", "powershell", "sigma", "ssh", "yara",
)  # fmt: skip
TYPES = (
    "bool", "dictionary", "float", "hexstring", "integer", "ipv4-addr", "ipv6-addr", "long", "mac-addr", "hash", "md5-hash", "sha256-hash",
    "string", "uri", "uuid",
)  # fmt: skip
REQUIRED = ("type", "spec_version", "id", "name", "created_by", "created", "modified", "workflow_start", "workflow")
ID = re.compile(
    r"[a-z][a-z0-9-]{1,60}[a-z0-9]--[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[1-5][0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}"
)
TIME = re.compile(r"\d{4}-(0[1-9]|1[012])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?Z")
VARIABLE = re.compile(r"__[a-zA-Z_][a-zA-Z0-9_-]{0,199}__")
USED = re.compile(r"(__[a-zA-Z][a-zA-Z0-9_-]{0,199}?__):value")
SECRET = re.compile(r"(?i)(passw|secret|token|api[_-]?key|credential|private[_-]?key)")
ASSIGNED = re.compile(
    r"(?i)\b(?:password|passwd|secret|token|api[_-]?key)\b[\"']?\s*[=:]\s*[\"']?(?!__|\$|\{)[^\s\"',;]{6,}"
)
AUTHORISING = ("authorization", "x-api-key", "api-key", "proxy-authorization", "cookie")
CONTAINING = ("restrict-access", "disconnect-system")
"""Activities of commands that contain."""
MUST_END = ("action", "playbook-action", "parallel")
PATTERNS = {
    "bool": re.compile(r"(?i)true|false"), "integer": re.compile(r"[+-]?\d{1,10}"), "long": re.compile(r"[+-]?\d{1,20}"),
    "float": re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"), "hexstring": re.compile(r"[0-9a-fA-F]*"), "md5-hash": re.compile(r"[0-9a-fA-F]{32}"),
    "sha256-hash": re.compile(r"[0-9a-fA-F]{64}"), "ipv4-addr": re.compile(r"\d{1,3}(\.\d{1,3}){3}(/\d{1,2})?"), "mac-addr": re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}"),
    "uuid": re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"),
}  # fmt: skip
MOST = 5_000
"""Steps that are looked at."""


class Problem(NamedTuple):
    """One thing that is wrong."""

    where: str
    rule: str
    says: str


def check(found: Json) -> tuple[Problem, ...]:
    """All that is wrong, in the order of the file; () where nothing is."""
    if not isinstance(found, dict):
        return (Problem("$", "form", "it is no JSON object"),)
    steps = found.get("workflow")
    if not isinstance(steps, dict) or not steps:
        return (*_head(found), Problem("workflow", "form", "there is no workflow"))
    if len(steps) > MOST:
        return (Problem("workflow", "form", f"more than {MOST} steps"),)
    whole = {key: one for key, one in steps.items() if isinstance(one, dict)}
    bad = (Problem(f"workflow.{key}", "form", "a step is an object") for key, one in steps.items() if not isinstance(one, dict))  # fmt: skip
    return (
        *_head(found), *bad, *(row for key, one in whole.items() for row in _step(key, one, whole, found)), *_flow(found, whole),
        *_variables(found, whole),
    )  # fmt: skip


def _head(found: Mapping[str, Json]) -> Iterator[Problem]:
    for name in REQUIRED:
        if name not in found:
            yield Problem(name, "required", f"{name} is missing")
    for name, wanted in (("type", "playbook"), ("spec_version", "cacao-2.0")):
        if name in found and found[name] != wanted:
            yield Problem(name, "form", f"it is {str(found[name])[:60]!r} and must be {wanted!r}")
    for name, kind in (("id", "playbook"), ("created_by", "identity"), ("workflow_start", "start")):
        value = found.get(name)
        if name in found and not (_is_id(value) and str(value).startswith(kind + "--")):
            yield Problem(name, "identifier", f"it must be {kind}--UUID")
    times = [found.get(name) for name in ("created", "modified")]
    for name, value in zip(("created", "modified"), times, strict=True):
        if name in found and not (isinstance(value, str) and TIME.fullmatch(value)):
            yield Problem(name, "form", "it is no time like 2026-11-30T10:00:00.000Z")
    if all(isinstance(one, str) for one in times) and str(times[1]) < str(times[0]):
        yield Problem("modified", "form", "it was modified before it was created")


def _is_id(value: Json) -> bool:
    return isinstance(value, str) and ID.fullmatch(value) is not None


def _step(key: str, one: Mapping[str, Json], steps: Mapping[str, Mapping[str, Json]], found: Mapping[str, Json]) -> Iterator[Problem]:  # fmt: skip
    where, kind = f"workflow.{key[:100]}", one.get("type")
    if kind not in STEPS:
        yield Problem(where, "step-type", f"CACAO has no step of type {str(kind)[:60]!r}; it has {', '.join(STEPS)}")
        return
    if not (_is_id(key) and key.startswith(f"{kind}--")):
        yield Problem(where, "identifier", f"a step of type {kind} is called {kind}--UUID")
    for name in one:
        if name not in COMMON and name not in OWN.get(kind, ()):
            yield Problem(where, "property", f"a step of type {kind} has no property {str(name)[:60]!r}")
    if kind in MUST_END and not _is_positive(one.get("timeout")):
        yield Problem(where, "timeout", "no timeout: nothing would end it")
    yield from _next(where, kind, one)
    for name, target in _leads(one):
        if target not in steps:
            yield Problem(where, "dangling", f"{name} leads to {str(target)[:80]}, which is not there")
    if kind == "action":
        yield from _action(where, one, steps, found)
    if kind == "playbook-action" and not _is_id(one.get("playbook_id")):
        yield Problem(where, "form", "it names no playbook_id")
    if kind == "parallel" and not (isinstance(one.get("next_steps"), list) and len(one["next_steps"]) > 1):
        yield Problem(where, "form", "a parallel step has two branches at least")
    if kind in ("if-condition", "while-condition") and not (isinstance(one.get("condition"), str) and one["condition"].strip()):  # fmt: skip
        yield Problem(where, "form", "it has no condition")


def _is_positive(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _next(where: str, kind: str, one: Mapping[str, Json]) -> Iterator[Problem]:
    given = [name for name in ("on_completion", "on_success", "on_failure") if name in one]
    if kind == "end":
        if given:
            yield Problem(where, "flow", f"an end step has no {given[0]}")
        return
    if not given:
        yield Problem(where, "no-end", "nothing comes after it, and it is no end")
    elif "on_completion" in one and len(given) > 1:
        yield Problem(where, "flow", "on_completion stands beside on_success or on_failure: which one counts?")
    elif kind == "start" and "on_completion" not in one:
        yield Problem(where, "flow", "a start step goes on at on_completion")
    elif "on_failure" in one and "on_success" not in one and "on_completion" not in one:
        yield Problem(where, "no-end", "it says where to go when it fails, and not where when it succeeds")


def _leads(one: Mapping[str, Json]) -> Iterator[tuple[str, Json]]:
    """(property, id) of every step it leads to."""
    for name in ("on_completion", "on_success", "on_failure", "on_true", "on_false"):
        if name in one:
            yield name, _hashable(one[name])
    after = one.get("next_steps")
    for target in after if isinstance(after, list) else ():
        yield "next_steps", _hashable(target)
    cases = one.get("cases")
    for target in cases.values() if isinstance(cases, dict) else ():
        yield "cases", _hashable(target)


def _hashable(value: Json) -> Json:
    return value if isinstance(value, str) else str(value)


def _action(where: str, one: Mapping[str, Json], steps: Mapping[str, Json], found: Mapping[str, Json]) -> Iterator[Problem]:  # fmt: skip
    commands = one.get("commands")
    if not isinstance(commands, list) or not commands:
        yield Problem(where, "form", "an action has commands")
        commands = []
    if "agent" not in one:
        yield Problem(where, "agent", "nobody is named who carries it out")
    elif not _is_defined(found, "agent_definitions", one["agent"]):
        yield Problem(where, "agent", f"agent {str(one['agent'])[:80]} is not among agent_definitions")
    targets = one.get("targets", [])
    for target in targets if isinstance(targets, list) else [targets]:
        if not _is_defined(found, "target_definitions", target):
            yield Problem(where, "target", f"target {str(target)[:80]} is not among target_definitions")
    contains = False
    for number, command in enumerate(commands):
        if not isinstance(command, dict) or command.get("type") not in COMMANDS:
            kind = command.get("type") if isinstance(command, dict) else command
            yield Problem(f"{where}.commands[{number}]", "command", f"CACAO has no command of type {str(kind)[:60]!r}")
            continue
        contains = contains or command.get("playbook_activity") in CONTAINING
        yield from _secrets(f"{where}.commands[{number}]", command)
    if contains and not _names_undo(one, steps):
        yield Problem(where, "undo", "it contains, and names no undo (a step extension with `undo`: the id of a step, or words)")  # fmt: skip


def _is_defined(found: Mapping[str, Json], name: str, key: Json) -> bool:
    defined = found.get(name)
    return isinstance(defined, dict) and isinstance(key, str) and isinstance(defined.get(key), dict)


def _names_undo(one: Mapping[str, Json], steps: Mapping[str, Json]) -> bool:
    given = one.get("step_extensions")
    for row in given.values() if isinstance(given, dict) else ():
        undo = row.get("undo") if isinstance(row, dict) else None
        if isinstance(undo, str) and undo.strip() and ("--" not in undo or undo in steps):
            return True
    return False


def _secrets(where: str, command: Mapping[str, Json]) -> Iterator[Problem]:
    headers = command.get("headers")
    for name, value in headers.items() if isinstance(headers, dict) else ():
        values = value if isinstance(value, list) else [value]
        if str(name).lower() in AUTHORISING and any(not USED.search(str(one)) for one in values):
            yield Problem(
                where, "secret", f"the header {str(name)[:40]} holds a secret as it is; name an external variable"
            )
    for name in ("command", "content"):
        if isinstance(command.get(name), str) and ASSIGNED.search(command[name][:20_000]):
            yield Problem(where, "secret", f"its {name} holds a secret as it is; name an external variable")


def _flow(found: Mapping[str, Json], steps: Mapping[str, Mapping[str, Json]]) -> Iterator[Problem]:
    starts = [key for key, one in steps.items() if one.get("type") == "start"]
    begin, rescue = found.get("workflow_start"), found.get("workflow_exception")
    if len(starts) != 1:
        yield Problem("workflow", "start", f"there are {len(starts)} start steps, and there must be one")
    if begin is not None and (not isinstance(begin, str) or steps.get(begin, {}).get("type") != "start"):
        yield Problem("workflow_start", "start", "it is not the start step")
    if rescue is not None and (not isinstance(rescue, str) or rescue not in steps):
        yield Problem("workflow_exception", "dangling", "it leads to a step that is not there")
    edges = {key: [target for _, target in _leads(one) if target in steps] for key, one in steps.items()}
    seen = _reached([one for one in (begin, rescue) if isinstance(one, str) and one in steps], edges)
    for key in steps:
        if key not in seen:
            yield Problem(f"workflow.{key[:100]}", "unreachable", "no step leads to it")
    for key in starts:
        if any(key in targets for targets in edges.values()):
            yield Problem(f"workflow.{key[:100]}", "loop", "a step leads back to the start")
    for key in _loops(edges):
        yield Problem(f"workflow.{key[:100]}", "loop", "from here the workflow comes back to here: it would never end; use a while-condition")  # fmt: skip
    ends = _reached([key for key, one in steps.items() if one.get("type") == "end"], _turned(edges))
    for key in steps:
        if key in seen and key not in ends:
            yield Problem(f"workflow.{key[:100]}", "no-end", "no path from here comes to an end step")
    for key, one in steps.items():
        if one.get("type") == "while-condition" and not _is_bounded(key, one, steps, edges):
            yield Problem(f"workflow.{key[:100]}", "unbounded-while", "nothing in its branch changes what its condition asks, and it has no timeout")  # fmt: skip


def _reached(begin: list[str], edges: Mapping[str, list[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = list(begin)
    while waiting:
        key = waiting.pop()
        if key not in seen:
            seen.add(key)
            waiting += edges.get(key, ())
    return seen


def _turned(edges: Mapping[str, list[str]]) -> dict[str, list[str]]:
    out: dict[str, list[str]] = {key: [] for key in edges}
    for key, targets in edges.items():
        for target in targets:
            out[target].append(key)
    return out


def _loops(edges: Mapping[str, list[str]]) -> Iterator[str]:
    """Steps that lead back to themselves: looked for among what is left when steps that lead nowhere are taken away again and again."""
    ways = {key: len(set(targets)) for key, targets in edges.items()}
    before = _turned({key: list(set(targets)) for key, targets in edges.items()})
    free = [key for key, count in ways.items() if not count]
    while free:
        for one in before[free.pop()]:
            ways[one] -= 1
            if not ways[one]:
                free.append(one)
    left = sorted(key for key, count in ways.items() if count > 0)
    yield from (key for key in left[:50] if key in _reached(list(edges[key]), edges))


def _is_bounded(key: str, one: Mapping[str, Json], steps: Mapping[str, Mapping[str, Json]], edges: Mapping[str, list[str]]) -> bool:  # fmt: skip
    if _is_positive(one.get("timeout")):
        return True
    asked = set(USED.findall(str(one.get("condition", ""))))
    begin = one.get("on_true")
    inside = _reached([begin], edges) - {key} if isinstance(begin, str) else set()
    for name in inside:
        out = steps[name].get("out_args")
        if asked & {str(arg) for arg in (out if isinstance(out, list) else ())}:
            return True
    return False


def _variables(found: Mapping[str, Json], steps: Mapping[str, Mapping[str, Json]]) -> Iterator[Problem]:
    whole = found.get("playbook_variables")
    shared = whole if isinstance(whole, dict) else {}
    yield from _declared("playbook_variables", shared)
    for key, one in steps.items():
        where = f"workflow.{key[:100]}"
        own = one.get("step_variables")
        mine = own if isinstance(own, dict) else {}
        yield from _declared(f"{where}.step_variables", mine)
        for name in sorted(_used(one)):
            if name not in shared and name not in mine:
                yield Problem(where, "variable", f"{name} is used and declared nowhere")
        for arg in (arg for part in ("in_args", "out_args") for arg in _list(one.get(part))):
            if str(arg) not in shared and str(arg) not in mine:
                yield Problem(where, "variable", f"{str(arg)[:80]} is handed over and declared nowhere")
    for part in ("agent_definitions", "target_definitions"):
        for name in sorted(_used(found.get(part))):
            if name not in shared and not any(name in _map(one.get("step_variables")) for one in steps.values()):
                yield Problem(part, "variable", f"{name} is used and declared nowhere")


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def _map(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}


def _declared(where: str, given: Mapping[str, Json]) -> Iterator[Problem]:
    for name, one in given.items():
        at = f"{where}.{str(name)[:60]}"
        if not VARIABLE.fullmatch(str(name)):
            yield Problem(at, "variable", "a variable is called __name__")
        if not isinstance(one, dict) or one.get("type") not in TYPES:
            yield Problem(at, "variable", f"it has no type CACAO knows: {', '.join(TYPES)}")
            continue
        value = one.get("value")
        if value is not None and not isinstance(value, str):
            yield Problem(at, "variable", "its value must be a text, also where it is a number")
        elif (
            value and one["type"] in PATTERNS and not USED.search(value) and not PATTERNS[one["type"]].fullmatch(value)
        ):
            yield Problem(at, "variable", f"its value is no {one['type']}")
        if value and SECRET.search(str(name)) and not USED.search(str(value)):
            yield Problem(at, "secret", "a secret stands in it; make it external and leave the value out")


def _used(value: Json) -> set[str]:
    """Names of variables in any text below."""
    out: set[str] = set()
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            out.update(USED.findall(one))
        elif isinstance(one, dict):
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return out
