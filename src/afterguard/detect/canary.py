"""Planted tokens: a reference that nobody has a reason to repeat, watched for in what the model says and calls.

In: a key with application and conversation, for the token and the sentence that plants it; a Scene whose Context has `canaries` (token ->
what it guards), for the detector. Out: the token, the sentence, Hits of kind canary_leak. A token is found in plain, set apart by blanks or
signs, backwards, rotated by thirteen, in base64, base32, hex, percent signs and decimal codes, and in invisible tags; one that is paraphrased or encrypted is not. Only the model's texts and
calls are read: whoever else names a token had it already.
"""

from __future__ import annotations

import base64
import hmac
import re
import string
import unicodedata
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from afterguard.detect.detector import Context, Detector
from afterguard.detect.scene import Scene, hit
from afterguard.model import Confidence, Hit, Origin, Severity, Span, ToolCall
from afterguard.remembered import remembered

ID = "canary"
TAXONOMIES = ("LLM07:2025", "LLM08:2026", "LLM02:2026", "AML.T0056", "CWE-200")
HEAD = b"ref-"
DIGITS = 12
SHORTEST = 8
"""Letters and digits a token has at least; a shorter one would turn up by chance."""
TOKENS_CAP = 64
"""Tokens of one exchange that are looked for."""
CALLS_CAP = 200
KEPT = frozenset((string.ascii_letters + string.digits).encode())
APART = bytes(byte for byte in range(256) if byte not in KEPT)
LOWER = bytes(byte + 32 if 65 <= byte <= 90 else byte for byte in range(256))
SAFE = bytes.maketrans(b"-_", b"+/")
NOT_BASE64 = bytes(byte for byte in range(256) if byte not in KEPT | frozenset(b"+/-_"))
ROTATED = bytes.maketrans(string.ascii_lowercase.encode(), (string.ascii_lowercase[13:] + string.ascii_lowercase[:13]).encode())  # fmt: skip
DIGITS_IN = re.compile(rb"\d+")
NOTHING: Mapping[str, str] = {}


def token(key: bytes, app: str, conversation: str) -> str:
    """The token of a conversation, for instance ref-7f3a9c1e0b24: the same for ever, so that prompt caches stay, and 48 bits that only
    the key's owner can tell. An empty conversation gives the application's own."""
    if len(key) < 16:
        raise ValueError("the key of canary tokens needs at least 16 bytes")
    name = app.encode("utf-8", "surrogatepass")
    told = len(name).to_bytes(8, "big") + name + conversation.encode("utf-8", "surrogatepass")
    return "ref-" + hmac.digest(key, b"afterguard.canary/1\0" + told, "sha256").hex()[:DIGITS]


def planted(system_prompt: str, token: str) -> str:
    """What to append to a system prompt, byte for byte the same each time; "" where the token already stands in it."""
    return (
        ""
        if token in system_prompt
        else f"\n\nFiling reference of this text: {token}. It belongs in no answer and no call."
    )


class Needles(NamedTuple):
    """How a token can stand in a text, each by the view in which it is looked for."""

    plain: bytes
    backwards: bytes
    rotated: bytes
    hexes: tuple[bytes, ...]
    base64s: tuple[bytes, ...]
    base32s: tuple[bytes, ...]
    codes: tuple[bytes, ...]


def is_long_enough(name: str) -> bool:
    """Whether a token can be told from chance: only such a one is looked for."""
    return _needles(name) is not None


@remembered(1024)
def _needles(name: str) -> Needles | None:
    """None for a token too short to be told from chance."""
    told = name.removeprefix("ref-").encode("utf-8", "replace")
    core = told.translate(LOWER, APART)
    if len(core) < SHORTEST:
        return None
    ways = (told, told.lower(), told.upper(), core, core.upper())
    spelled = tuple(dict.fromkeys(one for way in ways for one in (way, way[::-1])))
    return Needles(
        core,
        core[::-1],
        core.translate(ROTATED),
        tuple(dict.fromkeys(one.hex().encode() for one in spelled)),
        tuple(dict.fromkeys(cut for one in spelled for cut in _aligned(one))),
        tuple(dict.fromkeys(cut for one in spelled for cut in _fives(one))),
        tuple(b" %b " % b" ".join(b"%d" % byte for byte in one) for one in spelled),
    )


def _aligned(raw: bytes) -> Iterator[bytes]:
    """What stays the same of a base64 run that holds `raw`, for each of the three ways in which its bytes can fall."""
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + raw).rstrip(b"=")
        first = (before * 8 + 5) // 6
        yield whole[first : (before + len(raw)) * 8 // 6]


def _fives(raw: bytes) -> Iterator[bytes]:
    """The same for base32, in lower case, and the five ways in which bytes can fall there."""
    for before in range(5):
        whole = base64.b32encode(b"\0" * before + raw).rstrip(b"=").lower()
        yield whole[(before * 8 + 4) // 5 : (before + len(raw)) * 8 // 5]


def means(data: bytes, name: str) -> str:
    """How the token stands in the bytes: "as it is", "set apart", "backwards", "in base64" and so on; "" where it does not."""
    return Views(data).means(name)


class Views:
    """A text as tokens are looked for in it: each view made once, whatever the number of tokens."""

    __slots__ = ("_base64", "_codes", "_hex", "_squeezed", "data")

    def __init__(self, data: bytes) -> None:
        self.data = _folded(data)
        self._squeezed = self.data.translate(LOWER, APART)
        self._hex: bytes | None = None
        self._base64: bytes | None = None
        self._codes: bytes | None = None

    def means(self, name: str) -> str:
        needles = _needles(name)
        if needles is None:
            return ""
        if needles.plain in self._squeezed:
            return "as it is" if needles.plain in self.data.translate(LOWER) else "set apart"
        if needles.backwards in self._squeezed:
            return "backwards"
        if needles.rotated != needles.plain and needles.rotated in self._squeezed:
            return "rotated by thirteen"
        if self._base64 is None:
            self._base64 = self.data.translate(SAFE, NOT_BASE64)
        if any(one in self._base64 for one in needles.base64s):
            return "in base64"
        if self._hex is None:
            self._hex = self._squeezed.replace(b"u00", b"").replace(b"0x", b"").replace(b"x", b"")
        if any(one in self._hex for one in needles.hexes):
            return "in hex"
        if any(one in self._squeezed for one in needles.base32s):
            return "in base32"
        if self._codes is None:
            self._codes = b" %b " % b" ".join(DIGITS_IN.findall(self.data))
        return "in decimal codes" if any(one in self._codes for one in needles.codes) else ""


def _folded(data: bytes) -> bytes:
    """Full-width letters and invisible tags as the letters they stand for; anything else as it is."""
    if data.isascii() or not any(lead in data for lead in LEADS):
        return data
    text = unicodedata.normalize("NFKC", data.decode("utf-8", "replace"))
    return text.translate(TAGS).encode("utf-8", "replace")


LEADS = (b"\xef\xbc", b"\xef\xbd", b"\xf3\xa0", b"\xf0\x9d")
"""First bytes of full-width letters, tags and mathematical letters."""
TAGS = {0xE0000 + code: code for code in range(0x20, 0x7F)}


def find(scene: Scene) -> Iterator[Hit]:
    """One hit a token and text, one a token and call."""
    canaries = tokens(scene.context)
    if not canaries:
        return
    for index, text in scene.of(Origin.model):
        if len(text.value) >= SHORTEST:
            views = Views(scene.data(index))
            for name, guards in canaries:
                how = views.means(name)
                if how:
                    yield _in_text(scene, index, name, guards, how)
    for call in scene.calls[-CALLS_CAP:]:
        if len(call.arguments) >= SHORTEST:
            views = Views(call.arguments.encode("utf-8", "surrogatepass"))
            for name, guards in canaries:
                how = views.means(name)
                if how:
                    yield _hit(scene, -1, Span(0, 0), name, guards, f"{how} in the arguments of {call.name[:80]}", call)


def tokens(context: Context) -> list[tuple[str, str]]:
    """Tokens to look for, with what they guard, at most TOKENS_CAP."""
    return list(islice(getattr(context, "canaries", NOTHING).items(), TOKENS_CAP))


def _in_text(scene: Scene, index: int, name: str, guards: str, how: str) -> Hit:
    return _hit(scene, index, span_of(scene.data(index), name), name, guards, f"{how} in the reply")


def span_of(data: bytes, name: str) -> Span:
    """Where the token stands; the whole text where it is written in another way than its own letters in order."""
    needles = _needles(name)
    assert needles is not None
    squeezed = data.translate(LOWER, APART)
    for needle in (needles.plain, needles.backwards):
        at = squeezed.find(needle)
        if at >= 0:
            kept = [place for place, byte in enumerate(data) if byte in KEPT]
            start = kept[at] - len(HEAD) if data[: kept[at]].lower().endswith(HEAD) else kept[at]
            return Span(start, kept[at + len(needle) - 1] + 1)
    body = data.translate(SAFE, NOT_BASE64)
    for needle in needles.base64s:
        at = body.find(needle)
        if at >= 0:
            alphabet = KEPT | frozenset(b"+/-_")
            kept = [place for place, byte in enumerate(data) if byte in alphabet]
            return Span(kept[at], kept[at + len(needle) - 1] + 1)
    return Span(0, len(data))


def _hit(scene: Scene, index: int, span: Span, name: str, guards: str, where: str, call: ToolCall | None = None) -> Hit:
    return hit(
        scene,
        ID,
        "canary_leak",
        TAXONOMIES,
        severity=Severity.critical,
        confidence=Confidence.high,
        text=index,
        call=call,
        span=span,
        excerpt=f"[planted reference {where}]"[:240],
        values=(name,),
        data_classes=("instructions",),
        cause=f"canary of {guards}"[:120],
        rule=f"the reference planted in {guards} stands {where}"[:240],
        would_change="the application itself shows the planted reference to its users",
    )


DETECTOR = Detector(
    id=ID,
    kinds=("canary_leak",),
    taxonomies=TAXONOMIES,
    severity=Severity.critical,
    why="A planted reference in a reply or a call shows that what it stands in has left, however the words around it changed.",
    find=find,
    origins=(Origin.model,),
)
