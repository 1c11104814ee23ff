"""A pasted request -> the text of a TARGET.yaml that sends it again with another prompt.

In: `Pasted`, the text that was the prompt, a text of the reply. Out: `Draft`. Pure. Whatever may be a secret becomes ${NAME} and its value is left out: keys, cookies, tokens, and anything long and random. Raises UsageError.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import msgspec
import yaml

from afterguard.policy.read import DEPTH_CAP, scalar
from afterguard.targets import reading
from afterguard.targets.document import FORMAT
from afterguard.targets.pasted import Pasted, bad

SECRET = re.compile(r"key|token|secret|auth|session|sess\b|csrf|xsrf|cookie|passw|pwd|signature|\bsig\b|jwt|credential|api-?id|nonce|sid\b", re.I)  # fmt: skip
RANDOM = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z])[A-Za-z0-9+/=_.:~-]{20,}\Z")
KNOWN = re.compile(r"\b(?:sk-|AKIA|ghp_|gsk_|xox[a-z]-|eyJ[A-Za-z0-9_-]{8}|AIza|hf_)")
LONG = re.compile(r"[A-Za-z0-9+=_.~-]{20,}")
"""A word within a text that may be random."""
NAMED = re.compile(r"((?:key|token|secret|sig|signature|session|auth|code|password|jwt)=)([^&\s\"']{4,})", re.I)
LEFT_OUT = re.compile(r"(?::.*|host|content-length|connection|accept-encoding|transfer-encoding|te|priority|upgrade-insecure-requests|sec-.*|user-agent|dnt|pragma|cache-control|if-.*|content-type|accept-language|proxy-connection|keep-alive)\Z")  # fmt: skip
SCHEME = re.compile(r"(Bearer|Basic|Token|ApiKey|Bot) +(?=\S)", re.I)
PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*\Z")
PROMPT = "{{prompt}}"
LISTED = 12


class Draft(NamedTuple):
    """The file, the names in the environment that it needs, what its owner should look at."""

    text: str
    variables: tuple[str, ...]
    notes: tuple[str, ...]


def draft(one: Pasted, prompt: str, reply: str, title: str, name: str) -> Draft:
    """The target file of a paste called `name`. Raises UsageError."""
    if not prompt.strip():
        bad("--prompt is empty", "give the text that was typed into the application, as the request holds it")
    if one.method not in ("POST", "PUT", "PATCH", "GET"):
        bad(f"{name}: a request with {one.method[:20]}", "POST, PUT, PATCH and GET are sent")
    vault = _Vault(one)
    body, is_form = _body(one, name)
    url, query = _address(one, vault)
    paths = [path for path, text in _leaves(body) if prompt in text] + [f"?{key}" for key, text in query.items() if prompt in text]  # fmt: skip
    if not paths:
        there = ", ".join(path or "the body" for path, _ in _leaves(body))[:600]
        bad(f"{name}: no field of the request holds the text of --prompt", f"fields with text: {there or 'none'}")
    for path, text in _leaves(body):
        if prompt in text and text.lstrip()[:1] in ("{", "[") and _decoded(text) is not None and path:
            bad(f"{name}: the prompt stands in JSON that is a text itself, at {path}", "write the template by hand, or assess the service behind it")  # fmt: skip
    template: dict[str, Any] = {}
    if body is not None:
        template["body"] = vault.put(_replaced(body, prompt), "")
    template |= {"form": True} if is_form else {}
    template |= {"query": vault.put(_replaced(query, prompt), "")} if query else {}
    template |= _reply(one, reply, name)
    template |= {"method": one.method} if one.method != "POST" else {}
    headers = {key: vault.header(key, value) for key, value in one.headers if not LEFT_OUT.match(key)}
    told = {"format": FORMAT, "name": title, "url": url, "kind": "template", "headers": headers, "template": template}
    return Draft(_dumped(told), tuple(vault.names), _notes(one, paths, reply))


def _notes(one: Pasted, paths: list[str], reply: str) -> tuple[str, ...]:
    notes = [f"the prompt goes in at {', '.join(paths)}"]
    if not reply:
        notes.append("template.reply is a guess: give --reply TEXT with a HAR, or write the path of the answer")
    return tuple(notes)


class _Vault:
    """The values that may be secrets, under the names that stand for them."""

    def __init__(self, one: Pasted) -> None:
        self.names: dict[str, str] = {}
        cookies = (part.strip().partition("=") for part in one.header("cookie").split(";"))
        self.cookies = {value: key for key, _, value in cookies if len(value) >= 8}

    def hide(self, name: str, value: str) -> str:
        base = re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_")[:40] or "VALUE"
        base = base if base[0].isalpha() else f"V_{base}"
        taken = next((key for key, held in self.names.items() if held == value), "")
        if not taken:
            taken = next(key for key in (base, *(f"{base}_{n}" for n in range(2, 100_000))) if key not in self.names)
            self.names[taken] = value
        return f"${{{taken}}}"

    def within(self, name: str, value: str) -> str:
        """A text with what may be a secret in it replaced."""
        value = NAMED.sub(lambda match: match[1] + self.hide(f"{name}_{match[1][:-1]}", match[2]), value)
        return LONG.sub(lambda match: self.hide(name, match[0]) if _is_secret(match[0]) else match[0], value)

    def header(self, name: str, value: str) -> str:
        if name == "referer":
            return "/".join(value.split("/")[:3]) + "/"  # Its path and query are no concern of the application's.
        if not (SECRET.search(name) or _is_secret(value) or value in self.cookies):
            return self.within(name, value)
        scheme = SCHEME.match(value)
        return f"{scheme[0]}{self.hide(name, value[scheme.end() :])}" if scheme else self.hide(name, value)

    def put(self, value: Any, name: str) -> Any:
        """A body or a query with its secrets replaced."""
        if isinstance(value, dict):
            return {key: self.put(one, key) for key, one in value.items()}
        if isinstance(value, list):
            return [self.put(one, name) for one in value]
        if isinstance(value, str) and value:
            is_whole = SECRET.search(name) or _is_secret(value) or value in self.cookies
            return self.hide(name, value) if is_whole and PROMPT not in value else self.within(name, value)
        if isinstance(value, int) and not isinstance(value, bool) and SECRET.search(name) and abs(value) > 9_999:
            return self.hide(name, str(value))
        return value


def _is_secret(value: str) -> bool:
    return bool(RANDOM.match(value) or KNOWN.search(value)) and not value.startswith(("http://", "https://"))


def _body(one: Pasted, name: str) -> tuple[Any, bool]:
    kind = one.header("content-type").lower()
    if "multipart/" in kind:
        bad(f"{name}: a body in parts (multipart)", "is there a way to ask without a file? paste that request")
    if not one.body:
        return None, False
    if "form-urlencoded" in kind:
        rows = parse_qsl(one.body, keep_blank_values=True)
        return {key: (values[0] if len(values := [v for k, v in rows if k == key]) == 1 else values) for key, _ in rows}, True  # fmt: skip
    found = _decoded(one.body)
    if "json" in kind and found is None:
        bad(f"{name}: the body is no JSON, though its content type says so", "paste the body unchanged, on the lines after the empty one")  # fmt: skip
    if _depth(found) > DEPTH_CAP - 4:
        bad(f"{name}: the body is nested deeper than a target file may be", "write the template by hand")
    return (one.body if found is None else found), False


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level and depth <= DEPTH_CAP:
        inner = [list(one.values()) if isinstance(one, dict) else one for one in level if isinstance(one, (dict, list))]
        level = [item for one in inner for item in one]
        depth += 1
    return depth


def _decoded(text: str) -> Any:
    try:
        return reading.decoded(text)
    except reading.Unreadable:
        return None


def _address(one: Pasted, vault: _Vault) -> tuple[str, dict[str, str]]:
    parts = urlsplit(one.url)
    host = parts.netloc.rpartition("@")[2]
    segments = [vault.hide("path", unquote(part)) if _is_secret(unquote(part)) else quote(part, safe="%:@!$&'()*+,;=~._-") for part in parts.path.split("/")]  # fmt: skip
    return f"{parts.scheme}://{host}{'/'.join(segments) or '/'}", dict(parse_qsl(parts.query, keep_blank_values=True))


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Each text of a value and where it stands, as a target file writes it."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, one in value.items():
            if key and not set(key) & set(".[]"):
                yield from _leaves(one, f"{path}.{key}")
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _leaves(one, f"{path}[{index}]")


def _replaced(value: Any, prompt: str) -> Any:
    if isinstance(value, str):
        return value.replace(prompt, PROMPT)
    if isinstance(value, dict):
        return {key: _replaced(one, prompt) for key, one in value.items()}
    return [_replaced(one, prompt) for one in value] if isinstance(value, list) else value


def _reply(one: Pasted, wanted: str, name: str) -> dict[str, str]:
    """Where the answer stands: the path of the text that is `wanted`, or else holds it."""
    if not wanted:
        return {"reply": ".answer"}
    if one.reply is None:
        bad(f"{name}: it has no reply to look for the text of --reply in", "give a HAR with contents, or leave --reply out and write template.reply")  # fmt: skip
    if reading.is_stream({}, one.reply):
        return _stream(one.reply, wanted, name)
    found = _decoded(one.reply)
    if not isinstance(found, (dict, list)):
        if wanted not in one.reply:
            bad(f"{name}: the reply does not hold the text of --reply", "give a part of the answer, as it was shown")
        return {"reply": ""}
    leaves = list(_leaves(found))
    path = next((at for at, text in leaves if text == wanted), None) or next((at for at, text in leaves if wanted in text), None)  # fmt: skip
    if path is None:
        bad(f"{name}: no field of the reply holds the text of --reply", f"fields with text: {', '.join(at for at, _ in leaves[:LISTED])[:600] or 'none'}")  # fmt: skip
    return {"reply": path}


def _stream(text: str, wanted: str, name: str) -> dict[str, str]:
    """The path whose pieces together hold the text."""
    joined: dict[str, list[str]] = {}
    try:
        for event in reading.events(text)[0]:
            for path, piece in _leaves(event):
                joined.setdefault(path, []).append(piece)
    except reading.Unreadable:
        if wanted in reading.datas(text):
            return {"reply": "", "stream": "data"}
    path = next((at for at, pieces in joined.items() if wanted in "".join(pieces)), "")
    if not path:
        bad(f"{name}: no field of the streamed reply holds the text of --reply", f"fields with text: {', '.join(list(joined)[:LISTED])[:600] or 'none'}")  # fmt: skip
    return {"reply": path, "stream": path}


class _Dumper(yaml.SafeDumper):
    """Texts that could be read as anything else stand in quotes; nothing is written by reference."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    is_plain = PLAIN.match(value) and scalar(value) == value
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if is_plain else '"')


_Dumper.add_representer(str, _text)


def _dumped(told: dict[str, Any]) -> str:
    # What YAML cannot hold at all (half of a surrogate pair) was no text when it was pasted.
    clean = msgspec.json.decode(msgspec.json.encode(told))
    return yaml.dump(clean, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
