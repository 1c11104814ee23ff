"""The text of a TARGET.yaml -> a `Target` that can be spoken to.

In: text, its name, the environment. Out: `Target`. Raises UsageError with the line and what to write, for whatever is wrong: nothing of it may turn up later as a reply that cannot be read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, NoReturn
from urllib.parse import urljoin

import msgspec

from afterguard import net
from afterguard.errors import UsageError
from afterguard.policy import read as yaml
from afterguard.policy.misfit import misfit
from afterguard.targets import scored, template
from afterguard.targets.document import IDENTITY, Target, Template

CAP = 1 << 20
VARIABLE = re.compile(r"\$\{([A-Z][A-Z0-9_]{0,99})\}")
SENT = ("url", "guarded", "headers", "body", "template", "open", "audit", "mcp", "scoring")
"""Keys in which ${NAME} is filled in."""
SEE = "see docs/how-to/attack.md"
PATHS = ("reply", "stream", "end", "conversation")


def load(text: str, name: str, environment: Mapping[str, str]) -> Target:
    """A target from its file. Raises UsageError."""
    if len(text) > CAP:
        _bad(f"{name} is larger than a mebibyte", "is it a target file?")
    try:
        found = yaml.read(text, name)
    except UsageError as error:
        _bad(str(error), error.hint)
    if not isinstance(found.value, dict):
        _bad(f"{name}: no map of a target", "begin with: format: afterguard.target/1")
    raw = {key: _variables(value, f"{name}:{found.lines.get((key,), 1)}", environment) if key in SENT else value for key, value in found.value.items()}  # fmt: skip
    try:
        target = msgspec.convert(raw, Target, strict=False)
    except msgspec.ValidationError as error:
        wrong = misfit(error, found, Target, see=SEE, whole="the target")
        _bad(f"{name}:{wrong.line}: {wrong.what}", wrong.hint)
    except (RecursionError, OverflowError, ValueError):
        _bad(f"{name}: a value that nothing reads", SEE)
    _check(target, name)
    return target


def _variables(value: Any, where: str, environment: Mapping[str, str]) -> Any:
    def filled(match: re.Match[str]) -> str:
        if match[1] not in environment:
            _bad(f"{where}: {match[1]} is not set", f"export {match[1]}=...")
        return environment[match[1]]

    if isinstance(value, str):
        return VARIABLE.sub(filled, value)
    if isinstance(value, dict):
        return {key: _variables(one, where, environment) for key, one in value.items()}
    return [_variables(one, where, environment) for one in value] if isinstance(value, list) else value


def _check(target: Target, name: str) -> None:
    for key, url in (("url", target.url), ("guarded", target.guarded)):
        if url or key == "url":
            _address(url, target.kind, f"{name}: {key}")
    if target.listener:
        _address(target.listener, "template", f"{name}: listener")
        if target.listener.endswith("/") or "?" in target.listener:
            _bad(f"{name}: listener has no slash at its end and no question", "https://HOST or https://HOST/PATH")
    if target.open is not None:
        _same_host(target, target.open.url, f"{name}: open.url")
        _path(target.open.take, f"{name}: open.take")
    if target.audit is not None:
        _same_host(target, target.audit.url, f"{name}: audit.url")
        for path in (target.audit.calls, target.audit.name, target.audit.arguments):
            _path(path, f"{name}: audit")
    for key, value in target.headers.items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}", key) or not re.fullmatch(r"[\x20-\x7e\xa0-\xff\t]*", value):  # fmt: skip
            _bad(f"{name}: header {key[:100]!r} cannot be sent", "letters and hyphens in the name, one line of plain characters in the value")  # fmt: skip
    named = next((one for one in target.knows.identities if not (one.isascii() and one.isprintable())), None)
    if named is not None and any(IDENTITY in value for value in target.headers.values()):
        _bad(f"{name}: the identity {named!a} cannot stand in a header", "letters, digits and signs of ASCII alone")
    if target.kind in ("template", "websocket"):
        if target.template is None:
            _bad(f"{name}: kind {target.kind} needs a template", "template: {body: {text: '{{prompt}}'}, reply: .answer}")  # fmt: skip
        _template(target, target.template, name)
    elif target.template is not None:
        _bad(f"{name}: a template, but kind {target.kind}", "kind: template, or leave the template out")
    if (target.kind in scored.KINDS) != (target.scoring is not None):
        _bad(f"{name}: the kinds {', '.join(scored.KINDS)} and the part scoring belong together", "scoring: {rows: sample.csv, wanted: approve}")  # fmt: skip
    if target.scoring is not None:
        scored.check(target.scoring, target.kind, name)
    if (target.kind == "mcp") != (target.mcp is not None):
        _bad(f"{name}: kind mcp and mcp: {{tool: NAME}} belong together", "kind: mcp, mcp: {tool: NAME, argument: text}")  # fmt: skip


def _same_host(target: Target, there: str, where: str) -> None:
    """A second address of a target is at its host: no other one is spoken to."""
    for base in filter(None, (target.url, target.guarded)):
        url = urljoin(http(base), there)
        _address(url, "template", where)
        if net.host_of(url) != net.host_of(base):
            _bad(f"{where} is at another host", "write it as a path at the same host, as /session")


def _template(target: Target, one: Template, name: str) -> None:
    for key in PATHS:
        value = getattr(one, key)
        if not (key == "stream" and value == template.DATA):
            _path(value, f"{name}: template.{key}")
    if one.then is not None:
        _same_host(target, one.then.url, f"{name}: template.then.url")
        _path(one.then.ticket, f"{name}: template.then.ticket")
        if target.kind != "template" or "ticket" not in template.named(one.then.url):
            _bad(f"{name}: template.then.url has no {{{{ticket}}}}", "then: {url: '/jobs/{{ticket}}', ticket: .id}, for kind template")  # fmt: skip
    if one.form and not isinstance(one.body, (dict, str)):
        _bad(f"{name}: template.body of a form is a map", "body: {message: '{{prompt}}'}")
    if one.form and isinstance(one.body, dict) and any(isinstance(value, dict) for value in one.body.values()):
        _bad(f"{name}: template.body of a form is flat", "a form has names and texts; leave form out for JSON")
    words = template.named([one.body, one.query, target.url, target.guarded, target.headers])
    for word in sorted(words - set(template.WORDS)):
        near = get_close_matches(word, template.WORDS, 1)
        _bad(f"{name}: nothing is called {{{{{word}}}}}", f"did you mean {{{{{near[0]}}}}}?" if near else f"there are: {', '.join(template.WORDS)}")  # fmt: skip
    if not words & {"prompt", "question"}:
        _bad(f"{name}: the template has no place for the prompt", "write {{prompt}} where the question goes")


def _path(path: str, where: str) -> None:
    try:
        template.steps(path)
    except ValueError:
        _bad(f"{where}: {path[:100]!r} is no path", "as .answer or .choices[0].text")


def _address(url: str, kind: str, where: str) -> None:
    if "{" in net.host_of(url):
        _bad(f"{where}: the host is fixed", "words in double braces may stand in path and query")
    plain = template.WORD.sub("x", http(url) if kind == "websocket" else url)
    if kind == "websocket" and not url.startswith(("ws://", "wss://")):
        _bad(f"{where} is no address of a WebSocket", "wss://HOST/PATH")
    try:
        net.checked(plain, (net.host_of(url),), is_plain=True)
    except UsageError:
        _bad(f"{where} is no address", "https://HOST/PATH")


def http(url: str) -> str:
    """The address of the same host for a plain request."""
    return "http" + url.removeprefix("ws") if url.startswith(("ws://", "wss://")) else url


def _bad(says: str, hint: str) -> NoReturn:
    raise UsageError(says, hint=hint, slug="bad-target")
