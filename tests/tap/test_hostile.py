"""Everything read is hostile: broken, endless, deep, packed to explode. Counted, bounded, never raised."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from afterguard.files import Limits
from afterguard.model import Coverage, Exchange
from afterguard.tap import mapping, read
from afterguard.tap.decode import Broken, decode
from afterguard.tap.record import Place, exchanges
from afterguard.tap.when import when

SMALL = Limits(line_bytes=2000)


def take(
    tmp_path: Path, data: bytes, name: str = "log.jsonl", limits: Limits = SMALL
) -> tuple[list[Exchange], list[Coverage]]:
    path = tmp_path / name
    path.write_bytes(data)
    notes: list[Coverage] = []
    return list(read(path, name, notes.append, limits=limits)), notes


def reasons(found: list[Exchange]) -> list[str]:
    return [each.unjudged[0].reason if each.unjudged else each.protocol for each in found]


GOOD = b'{"messages": [{"role": "user", "content": "hi"}]}\n'


def test_broken_records_between_good_ones(tmp_path: Path) -> None:
    deep = b"[" * 5000 + b"]" * 5000
    wide = b'{"messages": ' + b"[" * 900 + b"]" * 900 + b"}\n"
    found, notes = take(
        tmp_path,
        GOOD
        + b"{broken\n"
        + GOOD
        + b'{"a": "'
        + b"x" * 3_000_000
        + b'"}\n'
        + b"\n"
        + deep[:1900]
        + b"\n"
        + wide
        + b"null\n7\n"
        + GOOD[:20],
    )
    assert reasons(found) == [
        "messages",
        "bad_json",
        "messages",
        "too_long",
        "bad_json",
        "unknown_shape",
        "unknown_shape",
        "unknown_shape",
        "truncated",
    ]
    assert found[3].bytes == 3_000_009 and not notes


@pytest.mark.parametrize(
    ("line", "texts"),
    [
        (b'{"messages": [{"role": "user", "content": "a\\ud800b"}], "x": NaN}', ["a\ufffdb"]),
        (b'{"messages": [{"role": "user", "content": "a\xff\xfeb"}]}', ["a\ufffd\ufffdb"]),
        (b'{"messages": [], "messages": [{"role": "user", "content": "last"}]}', ["last"]),
        (b'{"time": Infinity, "messages": [{"role": "user", "content": "x"}]}', ["x"]),
        (b'{"time": 1e999, "id": ' + b"9" * 1500 + b', "messages": [{"role": "user", "content": "x"}]}', ["x"]),
        (b'\xef\xbb\xbf{"messages": [{"role": "user", "content": "bom"}]}', ["bom"]),
        (b'{"messages": [{"role": "user", "content": "\\ud83d\\ude00 tab\there"}]}', ["\U0001f600 tab\there"]),
    ],
)
def test_mended(tmp_path: Path, line: bytes, texts: list[str]) -> None:
    found, _ = take(tmp_path, line + b"\n")
    assert [text.value for each in found for text in each.texts] == texts
    for each in found:
        json.dumps([text.value for text in each.texts]).encode()


def test_what_was_mended_is_counted(tmp_path: Path) -> None:
    found, _ = take(tmp_path, b'{"messages": [{"role": "user", "content": "a\xffb"}]}\n')
    assert [row.reason for row in found[0].unjudged] == ["bad_encoding"]


def test_empty_and_blank_and_unknown(tmp_path: Path) -> None:
    for data, reason in (
        (b"", "unsupported"),
        (b"  \n\n", "unsupported"),
        (b"\0\1\2\3" * 50, "binary"),
        (b"hello\nworld\n", "unsupported"),
    ):
        found, notes = take(tmp_path, data, "x.log")
        assert not found and [row.reason for row in notes] == [reason]


def test_missing_and_folder_and_device(tmp_path: Path) -> None:
    for path in (tmp_path / "gone", tmp_path, Path("/dev/zero")):
        notes: list[Coverage] = []
        assert not list(read(path, "x", notes.append)) and notes[0].reason == "unreadable"


def test_damaged_gzip_gives_what_it_can(tmp_path: Path) -> None:
    found, notes = take(tmp_path, gzip.compress(GOOD * 2000)[:-20], "x.gz")
    assert len(found) > 100 and [row.reason for row in notes] == ["truncated"]


def test_whole_document_cut_off(tmp_path: Path) -> None:
    found, _ = take(tmp_path, b"[\n" + GOOD.strip() + b",\n" + GOOD.strip() + b',\n{"messages": [{"ro', "x.json")
    assert reasons(found) == ["messages", "messages", "truncated"]
    assert [each.id for each in found] == ["x.json:2", "x.json:3", "x.json:4"]


def test_huge_elements_of_a_document(tmp_path: Path) -> None:
    big = json.dumps({"messages": [{"role": "user", "content": "y" * 9000}]}).encode()
    found, _ = take(tmp_path, b"[\n" + GOOD.strip() + b",\n" + big + b",\n" + GOOD.strip() + b"]", "x.json")
    assert reasons(found) == ["messages", "too_long", "messages"]


def test_endless_event(tmp_path: Path) -> None:
    found, _ = take(tmp_path, b"data: " + b"x" * (9 << 20) + b"\n\n", "x.sse")
    assert "too_long" in {row.reason for each in found for row in each.unjudged}


def test_table_with_an_open_quote_and_odd_rows(tmp_path: Path) -> None:
    rows = b"id,time,user,decision,amount\n" + b"1,2026-01-01,u,yes,3\n" * 60 + b"2,x\n3,2026-01-01,u,no,4,5,6\n"
    found, _ = take(tmp_path, rows + b'4,"open,' + b"z" * 9000 + b"\n5,2026-01-01,u,no,1\n", "x.csv")
    assert len(found) > 60 and "unknown_shape" in reasons(found[60:])


def test_clocks_that_jump(tmp_path: Path) -> None:
    times = [
        "2026-01-01T00:00:00Z",
        "1970-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        -5,
        0,
        "0001-01-01",
        1e300,
        "yesterday",
        True,
        None,
    ]
    lines = "".join(json.dumps({"time": t, "messages": [{"role": "user", "content": "x"}]}) + "\n" for t in times)
    found, _ = take(tmp_path, lines.encode())
    assert len(found) == len(times) and found[0].time == 1767225600.0
    assert all(each.time is None or 0 <= each.time < 5e9 for each in found)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-03-02T08:02:37.047132+00:00", (1772438557.047132, True)),
        ("2026-03-02T08:02:37Z", (1772438557.0, True)),
        ("2026-03-02T08:02:37,500Z", (1772438557.5, True)),
        ("2026-03-02T08:02:37.123456789Z", (1772438557.123456, True)),
        ("2026-03-02 08:02:37", (1772438557.0, False)),
        ("2026-03-02 08:02:37 UTC", (1772438557.0, True)),
        ("2026-03-02T10:02:37+0200", (1772438557.0, True)),
        ("02/Mar/2026:08:02:37 +0000", (1772438557.0, True)),
        ("Mon, 02 Mar 2026 08:02:37 GMT", (1772438557.0, True)),
        (1772438557, (1772438557.0, True)),
        (1772438557000, (1772438557.0, True)),
        (1772438557000000, (1772438557.0, True)),
        ("1772438557000000000", (1772438557.0, True)),
        ("1772438557.5", (1772438557.5, True)),
        (12, None),
        ("12.50", None),
        ("20260302", None),
        ("", None),
    ],
)
def test_times(value: object, expected: object) -> None:
    assert when(value) == expected


@given(st.one_of(st.text(max_size=45), st.integers(), st.floats(), st.text(alphabet="0123456789-:TZ+. ", max_size=36)))
def test_any_time(value: object) -> None:
    found = when(value)
    assert found is None or isinstance(found[0], float)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_decode_any_bytes(data: bytes) -> None:
    try:
        decode(data)
    except Broken:
        pass


STARTS = [b"", b"{", b"[", b'{"messages": ', b'{"resourceSpans": [', b"data: ", b"id,time,decision\n", b"PAR1", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"event: x\ndata: {", b'{"log": {"entries": [', b'[{"role":']  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(STARTS), st.binary(max_size=300), st.sampled_from(["a.jsonl", "a.csv", "a.har", "a.parquet"]))
def test_any_file(tmp_path: Path, start: bytes, rest: bytes, name: str) -> None:
    found, notes = take(tmp_path, start + rest, name)
    assert found or notes or not (start + rest).strip()


KEYS = ["request", "response", "messages", "input", "output", "prompt", "attributes", "resourceSpans", "scopeSpans", "spans", "log", "entries", "captureData", "endpointInput", "data", "key", "value",
        "stringValue", "body", "role", "content", "choices", "message", "metadata", "user", "time", "id", "traceId", "name", "events", "gen_ai.input.messages", "gen_ai.prompt.0.content", "postData", "text",
        "inputBodyJson", "modelId", "operation", "startedDateTime", "score", "features", "usage", "done", "type", "parts", "kwargs", "headers", "method"]  # fmt: skip
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from(
        [
            "user",
            "assistant",
            "tool",
            "gen_ai.choice",
            '{"messages": []}',
            "[{}]",
            "POST",
            "data: {}\n\n",
            "CSV",
            "BASE64",
        ]
    ),
    st.text(max_size=6),
)
ANY = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(KEYS), inner, max_size=6)),
    max_leaves=20,
)
RULES = mapping.parse(b'records: data[*]\nid: id\ntime: time\nuser: metadata["user"]\nmessages: messages\nrequest: request\nresponse: response\ntexts: {user: body.text, tool: "events[*].value"}\nfeatures: "*"\nscore: score\n', "m")  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(ANY)
def test_any_record(record: object) -> None:
    place = Place("f", 1, 10)
    found = list(exchanges(record, place))
    assert found
    for each in [*found, *mapping.exchanges(RULES, record, place)]:
        assert each is None or (each.id and isinstance(each.texts, tuple))
