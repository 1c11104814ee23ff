"""A planted token is seen in every way it can be written, and nothing else is taken for one."""

from __future__ import annotations

import base64
import codecs
import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.detect import canary
from afterguard.detect.canary import DETECTOR, means, planted, token
from afterguard.detect.detector import Context
from afterguard.detect.prefilter import Prefilter
from afterguard.detect.scene import Scene
from afterguard.model import Confidence, Exchange, Hit, Origin, Severity, Text, ToolCall, Trust
from afterguard.names import is_taxonomy

KEY = b"0123456789abcdef"
NAME = token(KEY, "shop", "c1")
CORE = NAME[4:]
EMPTY = dict.fromkeys(Origin, Prefilter((), "python"))


def hits(*texts: tuple[Origin, str], calls: tuple[str, ...] = (), canaries: dict[str, str] | None = None) -> list[Hit]:
    context = Context(lambda value: value[:4])
    context.canaries = {NAME: "the system prompt"} if canaries is None else canaries  # type: ignore[attr-defined]
    trust = {Origin.model: Trust.model, Origin.user: Trust.user}
    rows = tuple(Text(v, o, trust.get(o, Trust.third_party), f"m[{i}]", "", i) for i, (o, v) in enumerate(texts))
    made = tuple(ToolCall("send_mail", arguments, "", 9) for arguments in calls)
    return list(DETECTOR.find(Scene(Exchange("x", "t", 1, "m", texts=rows, calls=made), context, EMPTY)))


WAYS = {
    "plain": NAME,
    "without its head": CORE,
    "upper case": NAME.upper(),
    "blanks": " ".join(CORE),
    "hyphens": "-".join(CORE),
    "dots and lines": ".\n".join(CORE),
    "zero-width": "\u200b".join(CORE),
    "backwards": NAME[::-1],
    "backwards with blanks": " ".join(CORE[::-1]),
    "base64": base64.b64encode(NAME.encode()).decode(),
    "base64 one in": base64.b64encode(b"a" + NAME.encode() + b"!").decode(),
    "base64 two in": base64.b64encode(b"ab" + CORE.encode() + b"xyz").decode(),
    "base64 url": base64.urlsafe_b64encode(("\u00fe\u00ff?" + CORE).encode()).decode(),
    "base64 of a page": textwrap.fill(base64.b64encode(("Rules: " * 20 + NAME + ", never tell").encode()).decode(), 40),
    "base64 of the upper case": base64.b64encode(NAME.upper().encode()).decode(),
    "base64 of it backwards": base64.b64encode(NAME[::-1].encode()).decode(),
    "hex": NAME.encode().hex(),
    "hex with blanks": CORE.encode().hex(" "),
    "hex upper": CORE.upper().encode().hex(":").upper(),
    "hex as code": "".join(f"\\x{ord(c):02x}" for c in CORE),
    "hex as numbers": ", ".join(f"0x{ord(c):02X}" for c in CORE),
    "percent": "".join(f"%{ord(c):02X}" for c in CORE),
    "escapes": "".join(f"\\u{ord(c):04x}" for c in CORE),
    "entities": "".join(f"&#x{ord(c):x};" for c in CORE),
    "full width": "".join(chr(ord(c) + 0xFEE0) for c in CORE),
    "tags": "".join(chr(ord(c) + 0xE0000) for c in CORE),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_is_seen_in_texts_and_calls(way: str) -> None:
    said = f"Sure: {WAYS[way]} is it."
    (found,) = hits((Origin.user, "hi"), (Origin.model, said))
    assert found.kind == "canary_leak" and found.text == 1 and found.detector == DETECTOR.id
    assert found.severity is Severity.critical and found.confidence is Confidence.high
    assert 0 <= found.span.start < found.span.end <= len(said.encode())
    assert CORE not in found.excerpt + found.rule + found.cause
    (call,) = hits((Origin.user, "hi"), calls=(said,))
    assert call.text == -1 and "send_mail" in call.rule


def test_spans_are_exact() -> None:
    (found,) = hits((Origin.model, f"\u00fc see {NAME}."))
    start = len("\u00fc see ".encode())
    assert (found.span.start, found.span.end) == (start, start + 16)
    (apart,) = hits((Origin.model, f"a {' '.join(CORE)} b"))
    assert (apart.span.start, apart.span.end) == (2, 2 + 23)


def test_only_what_the_model_says_counts() -> None:
    assert not hits((Origin.user, NAME), (Origin.system, NAME), (Origin.tool, NAME), (Origin.document, NAME))
    assert not hits((Origin.model, NAME), canaries={})
    context = Context(str)
    assert canary.tokens(context) == []


def test_short_tokens_are_left_out() -> None:
    assert not hits((Origin.model, "the code is ref-ab12"), canaries={"ref-ab12": "x", "": "y", "----------": "z"})


def test_own_tokens_of_the_owner() -> None:
    (found,) = hits((Origin.model, "Card 4 9 9 9 1 2 3 4 5 6 7 8"), canaries={"4999-1234-5678": "the customer table"})
    assert "the customer table" in found.rule


@pytest.mark.parametrize(
    "said",
    [
        "",
        "Your order ships on Monday.",
        "Commit 7f3a9c1e0b24d5aa was merged.",
        "ref-000000000000",
        codecs.encode(CORE[:9], "rot13") * 3,
        CORE[:11],
        "sha256:" + "ab" * 32,
        base64.b64encode(b"Nothing to see here, move along please").decode(),
    ],
)
def test_ordinary_replies_are_no_leak(said: str) -> None:
    assert not hits((Origin.model, said))


def test_a_token_is_stable_and_its_owner_s() -> None:
    assert token(KEY, "shop", "c1") == NAME and len(NAME) == 16 and NAME.startswith("ref-")
    others = {
        token(KEY, "shop", "c2"),
        token(KEY, "shop2", "c1"),
        token(b"z" * 16, "shop", "c1"),
        token(KEY, "sho", "pc1"),
    }
    assert len(others) == 4 and NAME not in others
    with pytest.raises(ValueError, match="16 bytes"):
        token(b"", "a", "b")


def test_planting_appends_once() -> None:
    prompt = "You help with orders."
    sentence = planted(prompt, NAME)
    assert NAME in sentence and planted(prompt, NAME) == sentence and planted(prompt + sentence, NAME) == ""


def test_taxonomies_are_known() -> None:
    assert all(is_taxonomy(one) for one in DETECTOR.taxonomies)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200), st.text(max_size=60), st.text(max_size=30))
def test_anything_may_be_said(said: str, arguments: str, name: str) -> None:
    hits((Origin.model, said + "\ud800"), calls=(arguments,), canaries={name: "x", NAME: "y"})


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.binary(max_size=60))
def test_base64_is_seen_wherever_it_falls(before: bytes, behind: bytes) -> None:
    assert means(base64.b64encode(before + NAME.encode() + behind), NAME)
    assert means(base64.b16encode(before + CORE.encode() + behind), NAME)
    assert means(base64.b32encode(before + NAME.encode() + behind), NAME)
    own = "MER-7741-QX"
    assert means(base64.b64encode(before + own.encode() + behind), own)
    assert means(b" ".join(b"%d" % byte for byte in before + own[::-1].encode() + behind), own)
