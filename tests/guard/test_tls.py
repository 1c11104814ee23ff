"""TLS contexts: what they offer, and what is said of files that do not fit."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest

from afterguard.errors import UsageError
from afterguard.guard.tls import client_context, server_context


def shake(server: ssl.SSLContext, client: ssl.SSLContext, name: str = "localhost") -> Any:
    """(version, ALPN, subject of the client), or the kind of error either side saw."""
    near, far = socket.socketpair()
    found: list[Any] = []

    def serve() -> None:
        try:
            with server.wrap_socket(far, server_side=True) as line:
                line.sendall(b"x")
                found.append((line.version(), line.selected_alpn_protocol(), line.getpeercert()))
        except OSError as error:
            found.append(type(error))
            far.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(near, server_hostname=name) as line:
            line.recv(1)
    except OSError as error:
        found.insert(0, type(error))
        near.close()
    thread.join(5)
    return found[0]


def test_a_private_authority(authority: Any) -> None:
    server = server_context(*authority.issue("one"))
    version, alpn, _ = shake(server, client_context(ca=str(authority.ca)))
    assert (version, alpn) == ("TLSv1.3", "http/1.1")
    assert shake(server, client_context()) is ssl.SSLCertVerificationError
    assert shake(server, client_context(ca=str(authority.ca)), "other.example") is ssl.SSLCertVerificationError


def test_certificate_and_key_in_one_file(authority: Any, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_text("".join(Path(path).read_text() for path in authority.issue("both")))
    client = client_context(ca=str(authority.ca), certificate=str(both))
    _, _, subject = shake(server_context(str(both), client_ca=str(authority.ca)), client)
    assert subject["subject"] == ((("commonName", "both"),),)


def test_clients_without_a_certificate_stay_out(authority: Any, net: Any, tmp_path: Path) -> None:
    server = server_context(*authority.issue("mutual"), client_ca=str(authority.ca))
    assert isinstance(shake(server, client_context(ca=str(authority.ca))), type)
    stranger = net.Authority(tmp_path).issue("stranger")
    shown = client_context(ca=str(authority.ca), certificate=stranger[0], key=stranger[1])
    assert isinstance(shake(server, shown), type)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_versions_are_not_spoken(authority: Any) -> None:
    old = client_context(ca=str(authority.ca))
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    assert isinstance(shake(server_context(*authority.issue("old")), old), type)


def test_the_system_store_stays_trusted(authority: Any) -> None:
    with_ca, without = client_context(ca=str(authority.ca)), client_context()
    assert with_ca.cert_store_stats()["x509_ca"] == without.cert_store_stats()["x509_ca"] + 1
    assert without.verify_mode == ssl.CERT_REQUIRED and without.check_hostname


def test_an_authority_that_is_known_already(authority: Any, tmp_path: Path) -> None:
    twice = tmp_path / "twice.pem"
    twice.write_bytes(authority.ca.read_bytes() * 2)
    client_context(ca=str(twice))


def test_files_that_do_not_fit(authority: Any, tmp_path: Path) -> None:
    certificate, key = authority.issue("good")
    _, other_key = authority.issue("other")
    _, locked = authority.issue("locked", b"passphrase")
    junk = tmp_path / "junk.pem"
    junk.write_text("no PEM here")
    missing = str(tmp_path / "missing.pem")
    wrong = {
        "is not there": lambda: client_context(ca=missing),
        "holds no certificate": lambda: client_context(ca=str(junk)),
        "is not a certificate authority": lambda: client_context(ca=certificate),
        "is a key without a certificate": lambda: client_context(key=key),
        "does not belong to": lambda: server_context(certificate, other_key),
        "is encrypted": lambda: server_context(authority.issue("locked", b"x")[0], locked),
        "could not be read as PEM": lambda: server_context(str(junk), key),
    }
    for said, make in wrong.items():
        with pytest.raises(UsageError, match=said) as error:
            make()
        assert error.value.hint and error.value.slug == "guard-tls"
    with pytest.raises(UsageError, match="could not be read as PEM"):
        server_context(certificate)
    with pytest.raises(UsageError, match=r"\(key\)"):
        server_context(certificate, missing)
