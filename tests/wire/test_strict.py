"""Odd JSON is named, ordinary JSON is not, and nothing raises."""

from __future__ import annotations

import json
import timeit
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.wire import strict
from afterguard.wire.strict import DEPTH, decode, problems

needs_c = pytest.mark.skipif(strict._keys is None, reason="built without a compiler: Python does it alone")

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUE = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.floats(allow_nan=False, allow_infinity=False), TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXT, inner, max_size=4)),
    max_leaves=12,
)  # fmt: skip


@pytest.mark.parametrize(
    ("body", "value", "found"),
    [
        (b'{"a":1}\n', {"a": 1}, []),
        (b'{"a":1,"a":2}', {"a": 2}, ["duplicate_keys"]),
        (b'{"a" : 1, "b": 0, "a"\n: 2}', {"a": 2, "b": 0}, ["duplicate_keys"]),
        (b'{"a":1,"\\u0061":2}', {"a": 2}, ["duplicate_keys"]),
        (b'{"x\\\\":1,"x\\\\":2}', {"x\\": 2}, ["duplicate_keys"]),
        (b'{"\\u00e9":1,"\\u00E9":2}', {"é": 2}, ["duplicate_keys"]),
        (b'[{"n":1e5,"m":[{"q":1,"q":1}]}]', [{"n": 1e5, "m": [{"q": 1}]}], ["duplicate_keys"]),
        (b'{"a":"\\u0022,\\u0022b","c":1}', {"a": '","b', "c": 1}, []),
        (b"[1e5, 1.50, -0]", [1e5, 1.5, 0], []),
        (b'"caf\\u00e9 \\ud83d\\ude00"', "café 😀", []),
        (b'"\\\\u00e9"', "\\u00e9", []),
        (b'\xef\xbb\xbf{"a":1}', {"a": 1}, ["bom"]),
        (b'"x\\ud800y"', "x\ufffdy", ["lone_surrogate"]),
        (b'"\\udc00"', "\ufffd", ["lone_surrogate"]),
        (b'{"a":"\\ud800","a":1}', {"a": 1}, ["duplicate_keys", "lone_surrogate"]),
        (b"[" * DEPTH + b"]" * DEPTH, None, []),
        (b"[" * (DEPTH + 1) + b"]" * (DEPTH + 1), None, []),
        (b"[" * (DEPTH + 2) + b"]" * (DEPTH + 2), None, ["too_deep"]),
        (b'"' + b"[{" * 500 + b'"', "[{" * 500, []),
        (b"{} x", None, ["bad_json", "trailing_data"]),
        (b"{}{}", None, ["bad_json", "trailing_data"]),
        (b'"\\x"', None, ["bad_json", "bad_escape"]),
        (b'{"a":', None, ["bad_json", "truncated"]),
        (b"", None, ["bad_json", "empty"]),
        (b" \n", None, ["bad_json", "empty"]),
        (b'"\xff"', None, ["bad_json", "invalid_utf8"]),
        (b'"\xed\xa0\x80"', None, ["bad_json", "invalid_utf8"]),
        (b"NaN", None, ["bad_json"]),
        (b'[NaN,"\\ud800"]', None, ["bad_json"]),
        (b"[" * 100_000, None, ["bad_json", "too_deep"]),
        (b'{"a":' * 100_000, None, ["bad_json", "too_deep"]),
        (b"\xef\xbb\xbf\xef\xbb\xbf1", None, ["bad_json"]),
        (b"1" * 5000, None, ["bad_json"]),
        ('{"a":1}'.encode("utf-16"), None, ["bad_json"]),
    ],
)
def test_odd_bodies(body: bytes, value: Any, found: list[str]) -> None:
    decoded, words = decode(body)
    if "too_deep" not in words and body[:1] == b"[" and body[1:2] == b"[":
        assert decoded is not None
    elif "bad_json" in words:
        assert decoded is None
    elif body[:2] != b"[[":
        assert decoded == value
    assert words[: len(found)] == found and (words == found or "bad_json" in found)


@given(st.binary(max_size=60))
def test_never_raises(body: bytes) -> None:
    decoded, words = decode(body)
    assert decoded is None or "bad_json" not in words


@given(VALUE, st.sampled_from([None, 1]), st.booleans())
def test_ordinary_bodies_are_not_odd(value: Any, indent: int | None, ascii_only: bool) -> None:
    body = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()
    try:
        decoded = msgspec.json.decode(body)
    except msgspec.MsgspecError:
        return
    assert decode(body) == (decoded, []) and problems(body, decoded) == []


@settings(max_examples=150)
@given(st.lists(st.tuples(TEXT, VALUE), max_size=4), st.booleans(), st.sampled_from([",", " ,\n", ", "]), st.sampled_from([":", " : ", ": "]))  # fmt: skip
def test_every_second_key_is_seen(pairs: list[tuple[str, Any]], ascii_only: bool, comma: str, colon: str) -> None:
    def dump(value: Any) -> str:
        return json.dumps(value, ensure_ascii=ascii_only, separators=(comma, colon))

    inner = comma.join(dump(key) + colon + dump(value) for key, value in pairs)
    body = ('{"x":[{' + inner + "}]}").encode()
    try:
        msgspec.json.decode(body)
    except msgspec.MsgspecError:
        return
    assert ("duplicate_keys" in decode(body)[1]) == (len({key for key, _ in pairs}) < len(pairs))


def test_it_is_quick() -> None:
    """The price beside msgspec of the same run: some 1.4 times; what is quadratic would be hundreds."""
    turns = [{"role": "user", "content": 'Tell me "more" about Paris\n' + "word " * 25} for _ in range(9)]
    for repeat, number in ((1, 2000), (250, 5)):
        body = json.dumps({"model": "m", "temperature": 0.7, "messages": turns * repeat}).encode()
        ours = min(timeit.repeat(partial(decode, body), number=number, repeat=3)) / number
        theirs = min(timeit.repeat(partial(msgspec.json.decode, body), number=number, repeat=3)) / number
        assert ours < 10 * theirs


PAIRS = st.recursive(
    st.sampled_from(["1", "null", '"x"', '"a\\"}"', '"\\\\"', "-1.5e3"]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda rows: "[" + " ,".join(rows) + "]"),
        st.lists(st.tuples(st.sampled_from(["a", "b", "aa", "\\u0061", "a\\\\", "é", ""]), inner), max_size=16).map(
            lambda rows: "{" + ", ".join(f'"{key}" : {value}' for key, value in rows) + "}"
        ),
    ),
    max_leaves=40,
)


@needs_c
@settings(max_examples=300)
@given(PAIRS, st.integers(0, 80))
def test_c_and_python_agree(text: str, levels: int) -> None:
    body = ("[" * levels + text + "]" * levels).encode()
    try:
        decoded = msgspec.json.decode(body)
    except msgspec.MsgspecError:
        return
    found = problems(body, decoded)
    with pytest.MonkeyPatch.context() as without:
        without.setattr(strict, "_keys", None)
        assert problems(body, decoded) == found


@needs_c
@settings(max_examples=500)
@given(st.lists(st.sampled_from([b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"a"]), max_size=60).map(b"".join))
def test_bytes_that_are_no_json_give_some_answer(body: bytes) -> None:
    assert 0 <= strict._keys.odd(body, DEPTH) <= 7


@needs_c
def test_floods_of_keys_and_levels() -> None:
    many = b"{" + b",".join(b'"%d":1' % n for n in range(200_000))
    assert strict._keys.odd(many + b"}", DEPTH) == 0
    assert strict._keys.odd(many + b',"7":1}', DEPTH) == strict.TWICE
    assert strict._keys.odd(b"[" * 100_000, DEPTH) & strict.DEEP
    assert strict._keys.odd(b"{" + b'"a":1,' * 1_100_000 + b'"b":1}', DEPTH) & strict.UNSURE
