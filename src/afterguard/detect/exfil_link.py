"""Links and images in model output that carry data out to a host nobody in the conversation named.

In: a Scene. Out: Hits of kind exfil_link. A link counts when its host is foreign (named neither by system, user nor first-party
records) and its path or query carries a payload: long and random, encoded, or words of this conversation. It fetches nothing.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from afterguard.detect.detector import Detector
from afterguard.detect.prefilter import Pattern
from afterguard.detect.scene import Scene, hit
from afterguard.detect.secrets import entropy
from afterguard.model import Confidence, Hit, Origin, Severity, Span, Trust

ID = "exfil-link"
TAXONOMIES = ("LLM05:2025", "LLM10:2026", "AML.T0077", "ASI02:2026", "CWE-201")
PATTERN = Pattern("exfil-link:url", r"(https?|ftp|wss?)://|[(\"'=]\s?//[a-z0-9-]+\.", ignore_case=True)
URL = re.compile(r"(?:(?:https?|ftp|wss?):)?//([A-Za-z0-9._~%@\[\]:-]{1,255})([/?#][^\s<>\"'`)\]}]{0,4000})?", re.I)
RENDERED = re.compile(
    r"(!\[[^\]\n]{0,200}\]\s?\(\s?<?|<img\b[^>]{0,300}?src\s?=\s?[\"']?|<a\b[^>]{0,300}?href\s?=\s?[\"']?|\]\(\s?<?|^\s{0,3}\[[^\]\n]{1,80}\]:\s?<?)$",
    re.I | re.M,
)
PIECE = re.compile(r"[^/?#&=;,|:]+")
WORD = re.compile(r"[A-Za-z0-9@._-]{4,}")
BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{8,4000}={0,2}")
SAFE = bytes.maketrans(b"-_", b"+/")
LINKS_CAP = 200


class Link(NamedTuple):
    """A URL in a text: character span, host in lower case, what follows the host, how it is rendered."""

    start: int
    end: int
    host: str
    tail: str
    image: bool
    markup: bool


def links(text: str) -> Iterator[Link]:
    """URLs of a text, at most LINKS_CAP."""
    for number, found in enumerate(URL.finditer(text)):
        if number >= LINKS_CAP:
            return
        host = found.group(1).rpartition("@")[2].split(":")[0].lower().rstrip(".")
        if "." not in host and host != "localhost":
            continue
        before = RENDERED.search(text[max(0, found.start() - 320) : found.start()])
        lead = before.group(1).lower() if before else ""
        tail = (found.group(2) or "").rstrip(".,;:!?*_")
        yield Link(found.start(), found.end(), host, tail, lead.startswith(("![", "<img")), bool(lead))


def payload(link: Link, said: str) -> str:
    """Why the link carries data: a reason, or "". `said` is what the conversation holds, lower case."""
    for label in link.host.split(".")[:-2]:
        if (
            len(label) >= 24
            and any(c.isdigit() for c in label)
            and entropy(label.encode()) >= 3.4
            and label.count("-") < 3
        ):
            return f"{len(label)} characters of encoded data in the host's name"
    for piece in PIECE.findall(link.tail[:4_000]):
        raw = unquote_to_bytes((piece.replace("+", " ") if "%" in piece else piece).encode("utf-8", "surrogatepass"))
        if _is_said(raw, said):
            return "text of this conversation"
        if len(raw) >= 20 and entropy(raw) >= 3.6 and _is_mixed(raw):
            return f"{len(raw)} characters of random-looking data"
        if len(raw) >= 48 and entropy(raw) >= 3.0 and b"-" not in raw.strip(b"-"):
            return f"{len(raw)} characters of encoded data"
    query = (
        unquote_to_bytes(link.tail.partition("?")[2].encode("utf-8", "surrogatepass")).decode("utf-8", "ignore").lower()
    )
    carried = [word for word in WORD.findall(query) if any(c.isdigit() for c in word) or "@" in word]
    if any(word in said and len(word) >= 6 for word in carried):
        return "values of this conversation"
    if len(query) >= 60 and query.count(" ") + query.count("+") + query.count("_") >= 5:
        return "a sentence in the query"
    return ""


def _is_said(raw: bytes, said: str) -> bool:
    """Whether a piece, plain or decoded from base64 or hexadecimal, spells words of the conversation."""
    plain = raw.decode("utf-8", "ignore").lower().strip()
    if len(plain) >= 12 and plain.count(" ") >= 2 and plain[:200] in said:
        return True
    for decoded in (_base64(raw), _hex(raw)):
        text = decoded.decode("utf-8", "ignore").lower().strip()
        if len(text) >= 6 and text.isprintable() and text[:200] in said:
            return True
    return False


def _base64(raw: bytes) -> bytes:
    if len(raw) < 8 or not BASE64.fullmatch(raw):
        return b""
    body = raw.translate(SAFE).rstrip(b"=")
    try:
        return base64.b64decode(body + b"=" * (-len(body) % 4))
    except (binascii.Error, ValueError):
        return b""


def _hex(raw: bytes) -> bytes:
    try:
        return bytes.fromhex(raw.decode("ascii", "ignore")) if len(raw) >= 12 and len(raw) % 2 == 0 else b""
    except ValueError:
        return b""


def _is_mixed(raw: bytes) -> bool:
    """Random rather than a readable slug: digits among letters, or both cases without word breaks."""
    text = raw.decode("latin-1")
    breaks = sum(text.count(c) for c in "-_ +.")
    digits = sum(c.isdigit() for c in text)
    flips = sum(a.islower() and b.isupper() for a, b in itertools.pairwise(text))
    if breaks * 8 > len(text):
        return False
    return (digits >= 2 and digits < len(text)) or flips >= 3


def find(scene: Scene) -> Iterator[Hit]:
    """Hits in model output only."""
    for index in scene.touched(PATTERN.name):
        text = scene.texts[index]
        if text.origin is not Origin.model:
            continue
        for link in links(text.value):
            if is_known(scene, link.host, text.turn) or _is_copied(scene, index, text.value[link.start : link.end]):
                continue
            reason = payload(link, _said(scene, index))
            if reason:
                yield _hit(scene, index, link, reason)


def is_known(scene: Scene, host: str, turn: int) -> bool:
    """Whether system, user or a first-party record named the host (or its parent domain) before."""
    parent = ".".join(host.split(".")[-2:])
    for text in scene.texts:
        if text.turn <= turn and (text.origin in (Origin.system, Origin.user) or text.trust is Trust.first_party):
            lower = text.value.lower()
            if host in lower or f"//{parent}" in lower or f".{parent}" in lower:
                return True
    return False


def _is_copied(scene: Scene, before: int, address: str) -> bool:
    """Whether the whole address stood in an earlier text: a copy carries nothing that its writer did not have. Who asked for the
    copy is injection's question."""
    address = address.rstrip(".,;:!?*_")
    return any(t.origin is not Origin.model and address in t.value for t in scene.texts[:before])


def _said(scene: Scene, index: int) -> str:
    return "\n".join(t.value for i, t in enumerate(scene.texts) if i < index and t.origin is not Origin.system).lower()


def template(link: Link) -> str:
    """What links of one technique share while hosts and payloads change: the markup and the names of the parameters."""
    names = sorted({part.partition("=")[0][:20] for part in link.tail.partition("?")[2].split("&") if "=" in part})[:6]
    how = "image" if link.image else "link"
    return f"{how} with data in " + ("parameters " + ", ".join(names) if names else "its path")


def _hit(scene: Scene, index: int, link: Link, reason: str) -> Hit:
    value = scene.texts[index].value
    start = len(value[: link.start].encode("utf-8", "surrogatepass"))
    how = "an image, fetched without a click," if link.image else "a link"
    return hit(
        scene,
        ID,
        "exfil_link",
        TAXONOMIES,
        severity=Severity.critical if link.image else Severity.high,
        confidence=Confidence.high if link.markup else Confidence.medium,
        text=index,
        span=Span(start, start + len(value[link.start : link.end].encode("utf-8", "surrogatepass"))),
        values=(link.host,),
        cause=template(link),
        rule=f"{how} to {link.host}, which nobody in the conversation named, carries {reason}",
        would_change=f"{link.host} belongs to the application's owner",
    )


DETECTOR = Detector(
    id=ID,
    kinds=("exfil_link",),
    taxonomies=TAXONOMIES,
    severity=Severity.critical,
    why="A rendered link or image sends whatever its address carries to its host; that is how a hijacked assistant leaks.",
    find=find,
    patterns=(PATTERN,),
    origins=(Origin.model,),
)
