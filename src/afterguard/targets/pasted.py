"""A request as somebody pasted it -> its method, address, headers, body, and the reply where the paste has one.

In: text of a raw HTTP request (as a browser or an intercepting proxy copies it), a HAR, or one entry of a HAR. Out: `Pasted`. Pure. Raises UsageError with the line and what to do. Values never stand in an error: they may be secrets.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, NamedTuple, NoReturn
from urllib.parse import unquote_plus, urlencode, urlsplit

import msgspec

from afterguard.errors import UsageError

CAP = 64 << 20
"""Characters of a paste; a HAR holds pictures and scripts as well."""
HEADERS = 500
FIRST = re.compile(r"([A-Z]{3,10}) (\S{1,16384})(?: HTTP/[0-9.]{1,3})?$")
HEADER = re.compile(r"(:?[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}):[ \t]*(.*)$")
NEAR = ("localhost", "127.0.0.1", "[::1]")


class Pasted(NamedTuple):
    """One request. Names of headers are in lower case."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: str
    reply: str | None = None
    """Body of the reply, None where the paste has none."""

    def header(self, name: str) -> str:
        """The value of a header, "" where it is missing."""
        return next((value for key, value in self.headers if key == name), "")


def read(text: str, name: str, prompt: str) -> Pasted:
    """The request of a paste; of a HAR with many, the first that holds the prompt. Raises UsageError."""
    if len(text) > CAP:
        bad(f"{name} is larger than {CAP >> 20} MiB", "save only the request to the application")
    text = text.removeprefix("\ufeff")
    if not text.strip():
        bad(f"{name} is empty", "paste the request into it")
    found = _har(text, name, prompt) if text.lstrip()[0] in "{[" else _raw(text, name)
    try:
        parts = urlsplit(found.url)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_good = False
    if not is_good:
        bad(f"{name}: the request has no address", "it needs a Host line, or https://HOST/PATH in its first line")
    return found


def _raw(text: str, name: str) -> Pasted:
    if text.lstrip().startswith("curl "):
        bad(f"{name}:1: a curl command", "copy the request as HAR, or as raw text from an intercepting proxy")
    lines = text.replace("\r\n", "\n").split("\n")
    begin = next(number for number, line in enumerate(lines) if line.strip())
    first = FIRST.match(lines[begin].strip())
    if first is None:
        bad(f"{name}:{begin + 1}: no first line of a request", "it begins as POST /path HTTP/1.1")
    headers: list[tuple[str, str]] = []
    body = len(lines)
    for number in range(begin + 1, len(lines)):
        if not lines[number].strip():
            body = number + 1
            break
        row = HEADER.match(lines[number].strip())
        if row is None:
            bad(f"{name}:{number + 1}: no header", "one Name: value a line, then an empty line, then the body")
        if len(headers) >= HEADERS:
            bad(f"{name}:{number + 1}: more than {HEADERS} headers", "is it one request?")
        headers.append((row[1].lower(), row[2].strip()))
    sent = "\n".join(lines[body:])
    made = Pasted(first[1], first[2], tuple(headers), sent.rstrip("\n"))
    return made if "://" in first[2][:10] else made._replace(url=_address(made))


def _address(one: Pasted) -> str:
    host = one.header("host") or one.header(":authority")
    if not host:
        return ""
    told = next((url for url in (one.header("origin"), one.header("referer")) if url.split("://")[-1].startswith(host)), "")  # fmt: skip
    is_plain = told.startswith("http:") or (not told and host.rpartition(":")[0] in NEAR) or host in NEAR
    path = one.url if one.url.startswith("/") else f"/{one.url}"
    return f"{'http' if is_plain else 'https'}://{host}{path}"


def _har(text: str, name: str, prompt: str) -> Pasted:
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        at = re.search(r"byte (\d+)", str(error))
        line = text.encode("utf-8", "replace")[: int(at[1])].count(b"\n") + 1 if at else 1
        bad(f"{name}:{line}: neither JSON nor a raw request", "save the HAR again, or paste the raw request")
    entries = found.get("log", {}).get("entries") if isinstance(found, dict) and isinstance(found.get("log"), dict) else None  # fmt: skip
    listed = entries if isinstance(entries, list) else [found]
    requests = [one for one in listed if isinstance(one, dict) and isinstance(one.get("request"), dict)]
    if not requests:
        bad(f"{name}: no HAR and no entry of one", "an entry has a request with method, url, headers and postData")
    made = [_entry(one) for one in requests]
    fits = [one for one in made if _holds(one, prompt)]
    if not fits:
        bad(f"{name}: none of its {len(made)} requests holds the text of --prompt", "give the text as it was typed into the application")  # fmt: skip
    return fits[0]


def _holds(one: Pasted, prompt: str) -> bool:
    escaped = msgspec.json.encode(prompt).decode()[1:-1]
    return any(text in place for text in (prompt, escaped) for place in (one.body, unquote_plus(one.body), unquote_plus(one.url)))  # fmt: skip


def _entry(entry: dict[str, Any]) -> Pasted:
    request, response = entry["request"], entry.get("response")
    posted = _dict(request.get("postData"))
    body = posted.get("text")
    if not isinstance(body, str):
        body = urlencode([(name, value) for name, value in _named(posted.get("params"))])
    headers = _named(request.get("headers"))
    if isinstance(posted.get("mimeType"), str) and not any(key == "content-type" for key, _ in headers):
        headers.append(("content-type", posted["mimeType"]))
    content = _dict(_dict(response).get("content"))
    return Pasted(str(request.get("method", "GET")).upper(), str(request.get("url", "")), tuple(headers), body, _content(content))  # fmt: skip


def _named(rows: Any) -> list[tuple[str, str]]:
    listed = rows[:HEADERS] if isinstance(rows, list) else []
    return [
        (row["name"].lower(), row["value"])
        for row in listed
        if isinstance(row, dict) and isinstance(row.get("name"), str) and isinstance(row.get("value"), str)
    ]


def _content(content: dict[str, Any]) -> str | None:
    text = content.get("text")
    if not isinstance(text, str):
        return None
    if content.get("encoding") != "base64":
        return text
    try:
        return base64.b64decode(text).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return None


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def bad(says: str, hint: str) -> NoReturn:
    """Raise what is wrong with a paste."""
    raise UsageError(says, hint=hint, slug="bad-paste")
