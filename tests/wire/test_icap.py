"""ICAP as a server hears it: whatever the cuts, the same events; whatever is wrong, one clear refusal and bounded memory."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.wire import icap
from afterguard.wire.icap import BadIcap, Data, End, Event, Head, Http, Preview, Receiver

REQUEST = b"POST https://api.openai.com/v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nX-Empty:\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"


def reqmod(*headers: bytes, body: bytes | None = b"5\r\nhello\r\n0\r\n\r\n", encapsulated: bytes = b"") -> bytes:
    kind = b"null-body" if body is None else b"req-body"
    where = encapsulated or b"req-hdr=0, %s=%d" % (kind, len(REQUEST))
    head = (b"REQMOD icap://guard/reqmod ICAP/1.0", b"Host: guard", b"Encapsulated: " + where, *headers)
    return b"\r\n".join(head) + b"\r\n\r\n" + REQUEST + (body or b"")


def respmod(body: bytes = b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nDigest: x\r\n\r\n") -> bytes:
    where = b"req-hdr=0, res-hdr=%d, res-body=%d" % (len(REQUEST), len(REQUEST + RESPONSE))
    return b"RESPMOD icap://guard/respmod ICAP/1.0\r\nEncapsulated: " + where + b"\r\n\r\n" + REQUEST + RESPONSE + body


OPTIONS = b"OPTIONS icap://guard/reqmod ICAP/1.0\r\nHost: guard\r\n\r\n"
PREVIEW = reqmod(b"Preview: 4", body=b"4\r\nhell\r\n0\r\n\r\n1\r\no\r\n0\r\n\r\n")
WHOLE = reqmod(b"Preview: 9", body=b"5\r\nhello\r\n0; ieof\r\n\r\n")
SAMPLES = {
    "reqmod": reqmod(), "null": reqmod(body=None), "respmod": respmod(), "options": OPTIONS, "preview": PREVIEW, "ieof": WHOLE,
    "pipelined": reqmod() + OPTIONS + respmod() + reqmod(body=None) + WHOLE,
}  # fmt: skip


def heard(pieces: list[bytes]) -> list[Event | str]:
    """Everything these pieces say, going on after every preview; pieces of a body joined."""
    receiver = Receiver()
    out: list[Event | str] = []

    def take(events: list[Event]) -> None:
        while events:
            for event in events:
                if isinstance(event, Data) and out and isinstance(out[-1], Data):
                    out[-1] = Data(out[-1].value + event.value)
                else:
                    out.append(event)
            ended = isinstance(events[-1], End)
            asked = isinstance(events[-1], Preview)
            events = receiver.resume() if asked else receiver.more() if ended else []

    try:
        for piece in pieces:
            take(receiver.feed(piece))
        receiver.check()
    except BadIcap as error:
        out.append(f"bad: {error}")
    return out


@pytest.mark.parametrize("name", SAMPLES)
def test_cut_anywhere_it_says_the_same(name: str) -> None:
    data = SAMPLES[name]
    whole = heard([data])
    assert not any(isinstance(event, str) for event in whole)
    assert heard([data[at : at + 1] for at in range(len(data))]) == whole
    for at in range(len(data)):
        assert heard([data[:at], data[at:]]) == whole


def test_what_is_said() -> None:
    head, data, end = heard([respmod()])
    assert isinstance(head, Head) and head.method == "RESPMOD" and head.preview == -1
    assert head.request is not None and head.request.get(b"host") == b"api.openai.com"
    assert head.response is not None and bytes(head.response) == RESPONSE
    assert data == Data(b"abcde") and end == End([(b"Digest", b"x")])
    assert [type(event) for event in heard([PREVIEW])] == [Head, Data, Preview, Data, End]
    assert [type(event) for event in heard([WHOLE])] == [Head, Data, Preview, End]
    assert heard([WHOLE])[2] == Preview(True) and heard([PREVIEW])[2] == Preview(False)


def test_after_a_preview_the_rest_may_stay_away() -> None:
    receiver = Receiver()
    events = receiver.feed(reqmod(b"Preview: 0", body=b"0\r\n\r\n"))
    assert [type(event) for event in events] == [Head, Preview]
    receiver.finish()
    assert receiver.is_idle
    assert isinstance(receiver.feed(OPTIONS)[0], Head)


BAD = {
    "no request": b"GET / HTTP/1.1\r\n\r\n",
    "version": OPTIONS.replace(b"ICAP/1.0", b"ICAP/2.0"),
    "method": OPTIONS.replace(b"OPTIONS", b"LOGMOD"),
    "no encapsulated": b"REQMOD icap://guard/reqmod ICAP/1.0\r\nHost: guard\r\n\r\n",
    "two encapsulated": reqmod(b"Encapsulated: req-hdr=0, null-body=10"),
    "two previews": reqmod(b"Preview: 4", b"Preview: 5"),
    "preview of letters": reqmod(b"Preview: many"),
    "preview too large": reqmod(b"Preview: 99999999"),
    "preview overrun": reqmod(b"Preview: 4", body=b"5\r\nhello\r\n0\r\n\r\n"),
    "endless preview": reqmod(b"Preview: 4", body=b"1\r\nx\r\n" * 9),
    "offset inside a head": reqmod(encapsulated=b"req-hdr=0, req-body=20"),
    "offset beyond a head": reqmod(encapsulated=b"req-hdr=0, req-body=%d" % (len(REQUEST) + 3)),
    "offset negative": reqmod(encapsulated=b"req-hdr=0, req-body=-1"),
    "offset huge": reqmod(encapsulated=b"req-hdr=0, req-body=999999999"),
    "offset not growing": reqmod(encapsulated=b"req-hdr=0, req-body=0"),
    "offset not from 0": reqmod(encapsulated=b"req-hdr=1, req-body=%d" % len(REQUEST)),
    "response in reqmod": reqmod(encapsulated=b"res-hdr=0, res-body=%d" % len(REQUEST)),
    "no head in reqmod": reqmod(encapsulated=b"req-body=0"),
    "body in the middle": reqmod(encapsulated=b"req-body=0, req-hdr=%d" % len(REQUEST)),
    "chunk of letters": reqmod(body=b"z\r\n"),
    "chunk negative": reqmod(body=b"-5\r\nhello\r\n"),
    "chunk huge": reqmod(body=b"fffffffff\r\n"),
    "chunk longer than said": reqmod(body=b"3\r\nhello\r\n0\r\n\r\n"),
    "chunk line endless": reqmod(body=b"5;" + b"x" * 9000),
    "ieof without preview": reqmod(body=b"0; ieof\r\n\r\n"),
    "trailers endless": reqmod(body=b"0\r\n" + b"x: y\r\n" * 9000),
    "trailer no header": reqmod(body=b"0\r\nnonsense\r\n\r\n"),
    "bare line end": OPTIONS.replace(b"Host: guard", b"Host: guard\nX: y"),
    "header without a name": OPTIONS.replace(b"Host:", b":"),
    "space in a name": OPTIONS.replace(b"Host:", b"Host :"),
    "folded header": OPTIONS.replace(b"Host: guard", b"Host: guard\r\n more"),
    "nul in an http head": reqmod().replace(b"X-Empty:", b"X-Empt\0:"),
    "head endless": b"OPTIONS icap://guard/reqmod ICAP/1.0\r\n" + b"x: y\r\n" * 20_000,
    "line endless": b"O" * 100_000,
}


@pytest.mark.parametrize("name", BAD)
def test_refused_whatever_the_cuts(name: str) -> None:
    data = BAD[name]
    said = heard([data])[-1]
    assert isinstance(said, str) and said.startswith("bad: "), said
    steps = heard([data[at : at + 7] for at in range(0, len(data), 7)])
    assert steps[-1] == said


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(SAMPLES)),
    st.integers(0, 400),
    st.binary(max_size=6),
    st.integers(0, 6),
    st.lists(st.integers(1, 50), max_size=30),
)
def test_broken_anywhere_it_says_the_same_or_refuses(
    name: str, at: int, new: bytes, gone: int, cuts: list[int]
) -> None:
    data = SAMPLES[name][:at] + new + SAMPLES[name][at + gone :]
    whole = heard([data])
    pieces, start = [], 0
    for size in cuts:
        pieces.append(data[start : start + size])
        start += size
    assert heard([*pieces, data[start:]]) == whole


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes(data: bytes) -> None:
    heard([data])
    heard([SAMPLES["reqmod"], data])


def test_what_a_server_says_is_read_back() -> None:
    head = Http(b"HTTP/1.1 400 Bad Request", [(b"Content-Type", b"text/plain")])
    said = icap.reply(200, [(b"ISTag", b'"x"')], head, kind="res", has_body=True) + icap.body([b"no", b"", b" way"])
    assert said.startswith(b"ICAP/1.0 200 OK\r\n") and b"Encapsulated: res-hdr=0, res-body=54" in said
    assert said.endswith(b"2\r\nno\r\n4\r\n way\r\n0\r\n\r\n")
    assert icap.reply(204) == b"ICAP/1.0 204 No Content\r\n\r\n"
    assert icap.http(bytes(head)) == head and head.without(b"content-type").headers == []
