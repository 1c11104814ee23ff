"""The control plane's client: an end in time, size and destination, against real sockets."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from afterguard import net
from afterguard.errors import Unreachable, UsageError

HEAD = b'HTTP/1.1 200 OK\r\nETag: "1"\r\n'


@contextlib.contextmanager
def server(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """One connection, answered by `answer`."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen(8)

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    line, _ = door.accept()
                    with line, contextlib.suppress(OSError):
                        line.recv(65_536)
                        answer(line)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{door.getsockname()[1]}/x?y=1"
        door.close()


def test_what_comes_back() -> None:
    with server(lambda line: line.sendall(HEAD + b"Content-Length: 2\r\n\r\nhi")) as url:
        assert net.get(url, allow=["127.0.0.1"]) == net.Reply(200, {"etag": '"1"', "content-length": "2"}, b"hi")


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"SMTP ready\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n", HEAD + b"\r\n" + b"x" * 2_000,
    ],
)  # fmt: skip
def test_what_is_no_answer_is_said(answer: bytes) -> None:
    with server(lambda line: line.sendall(answer)) as url, pytest.raises(Unreachable, match="does not answer"):
        net.get(url, allow=["127.0.0.1"], cap=1_000)


def test_a_peer_that_drips_has_an_end() -> None:
    def drip(line: socket.socket) -> None:
        line.sendall(HEAD)
        for _ in range(1_000):
            line.sendall(b"a: b\r\n")
            time.sleep(0.05)

    with server(drip) as url:
        began = time.monotonic()
        with pytest.raises(Unreachable, match="too long"):
            net.get(url, allow=["127.0.0.1"], whole=0.5)
        assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("url", "allow", "says"),
    [
        ("http://policies.example/x", ["policies.example"], "without TLS"),
        ("https://policies.example/x", ["other.example"], "not among the hosts"),
        ("https://169.254.169.254/latest", [], "not among the hosts"),
        ("https://me:secret@policies.example/x", ["policies.example"], "no address"),
        ("ftp://policies.example/x", ["policies.example"], "no address"),
        ("https://policies.example/\r\nhost: x", ["policies.example"], "no address"),
        ("https://[::1", ["::1"], "no address"),
    ],
)
def test_where_it_does_not_go(url: str, allow: list[str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        net.checked(url, allow)


def test_a_redirect_is_an_answer() -> None:
    with server(
        lambda line: line.sendall(
            b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"
        )
    ) as url:
        assert net.get(url, allow=["127.0.0.1"]).status == 302


@pytest.mark.parametrize("value", ["Bearer s3cr3t\ns3cr3t", "Bearer s3cr3t\u4f60"])
def test_a_header_that_cannot_be_sent_is_not_quoted(value: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(Unreachable) as told:
        net.get(f"http://127.0.0.1:{server.getsockname()[1]}/", allow=["127.0.0.1"], headers={"authorization": value})
    assert "a header that HTTP cannot carry" in str(told.value)
    assert not any(one in str(told.value) for one in ("s3cr3t", "\u4f60", "4f60"))
