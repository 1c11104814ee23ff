"""Our own listener: what bears a token that is waited for is a receipt, nothing else is kept, and nobody can hold it up."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from afterguard.attack.contract import Aim, Canary, Receipt, Reply
from afterguard.attack.markers import nonce
from afterguard.attack.techniques import picture_to_listener
from afterguard.attack.trial import Result, Trial, Verdict
from afterguard.errors import UsageError
from afterguard.targets import listener
from afterguard.targets.listener import EACH, TOKENS, Listener, listening

TOKEN = nonce("s")


@pytest.fixture
def ear() -> Iterator[Listener]:
    with listening("127.0.0.1:0") as one:
        assert one is not None
        yield one


def asked(ear: Listener, path: str, method: str = "GET") -> tuple[int, bytes]:
    line = http.client.HTTPConnection("127.0.0.1", ear.port, timeout=10)
    line.request(method, path)
    got = line.getresponse()
    return got.status, got.read()


def raw(ear: Listener, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", ear.port), timeout=10) as line:
        line.sendall(data)
        with contextlib.suppress(OSError):
            line.shutdown(socket.SHUT_WR)
        out = b""
        with contextlib.suppress(ConnectionError):
            while got := line.recv(4_096):
                out += got
    return out


def test_only_a_token_that_is_waited_for_is_a_receipt_and_all_hear_the_same(ear: Listener) -> None:
    answers = [asked(ear, f"/{TOKEN}?d=before")]
    ear.expect(TOKEN)
    answers += [asked(ear, f"/{TOKEN}?d=MER%2D7741"), asked(ear, f"/{nonce('other')}?d=x"), asked(ear, "/admin"), asked(ear, f"/r/{TOKEN}", "HEAD"), asked(ear, f"/{TOKEN}", "POST"), asked(ear, f"/{TOKEN}0"), asked(ear, "/" + "x" * 7_000)]  # fmt: skip
    assert set(answers) == {(404, b"")}
    assert ear.receipts(TOKEN) == (Receipt("listener", f"/{TOKEN}?d=MER-7741"), Receipt("listener", f"/r/{TOKEN}"))
    assert ear.strays == 6
    ear.expect(TOKEN)
    assert ear.receipts(TOKEN) == (), "what came before belongs to an earlier turn"


def test_it_has_an_end_in_everything(ear: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "WAITING", 0.3)
    ear.expect(TOKEN)
    for n in range(EACH + 5):
        asked(ear, f"/{TOKEN}?n={n}")
    assert len(ear.receipts(TOKEN)) == EACH
    silent = [socket.create_connection(("127.0.0.1", ear.port)) for _ in range(2 * listener.HANDS)]
    assert asked(ear, f"/{TOKEN}")[0] == 404, "those that say nothing are left after a moment"
    for line in silent:
        line.close()
    for n in range(TOKENS + 5):
        ear.expect(nonce(str(n)))
    asked(ear, f"/{TOKEN}")
    assert len(ear._got) == TOKENS and TOKEN not in ear._got
    assert raw(ear, b"GET /" + b"x" * 100_000) in (b"", listener.ANSWER)


def test_closed_is_closed(ear: Listener) -> None:
    port, threads = ear.port, threading.active_count()
    ear.close()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    assert threading.active_count() <= threads


@given(st.binary(max_size=200))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_hear_the_same_nothing(ear: Listener, data: bytes) -> None:
    assert raw(ear, data) in (listener.ANSWER, b"")


@pytest.mark.parametrize("listen", ["", ":80", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", "no-such-host.invalid:1", "192.0.2.1:0"])  # fmt: skip
def test_an_address_that_is_none_is_said_to_be(listen: str) -> None:
    if not listen:
        with listening(listen) as none:
            assert none is None
        return
    with pytest.raises(UsageError) as error:
        Listener(listen)
    assert error.value.slug == "bad-listener" and error.value.hint


def test_loopback_is_told_from_what_others_reach() -> None:
    with listening("0.0.0.0:0") as one, listening("[::1]:0") as other:
        assert one and one.is_beyond and other and not other.is_beyond and other.address.startswith("http://[::1]:")


def test_a_picture_that_is_fetched_is_a_receipt_and_its_twin_is_none(ear: Listener) -> None:
    """A page that shows an answer loads its pictures: the secret arrives here, in whatever words the answer came."""
    aim = Aim("s", canaries=(Canary("MER-7741-QX"),), listener=ear.address)
    for is_twin, wanted in ((False, Verdict.succeeded), (True, Verdict.resisted)):
        trial = Trial(picture_to_listener.TECHNIQUE, aim, "picture", is_twin)
        trial.begin()
        ear.expect(TOKEN)
        with contextlib.suppress(urllib.error.HTTPError):
            urllib.request.urlopen(f"{ear.address}/{TOKEN}" + ("" if is_twin else "?d=MER-7741-QX"), timeout=10)
        end = trial.hear(Reply("Done.", receipts=ear.receipts(TOKEN)))
        assert isinstance(end, Result) and end.verdict is wanted
