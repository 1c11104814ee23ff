"""TLS contexts for both sides of the guard.

In: paths of PEM files. Out: an `ssl.SSLContext` that offers TLS 1.2 and later and HTTP/1.1 only, or a UsageError that names the file and what is wrong with it.
It will not switch verification off, ask for a passphrase, or write a file.
"""

from __future__ import annotations

import os
import ssl

from afterguard.errors import UsageError


def client_context(*, ca: str = "", certificate: str = "", key: str = "") -> ssl.SSLContext:
    """For upstreams. Trusts the system's store, and `ca` beside it; shows `certificate` with `key` (same file where empty) when asked for one."""
    context = ssl.create_default_context()
    _narrow(context)
    if ca:
        _trust(context, ca)
    if certificate:
        _show(context, certificate, key)
    elif key:
        raise _wrong(key, "is a key without a certificate", "Give the certificate that belongs to it as well.")
    return context


def server_context(certificate: str, key: str = "", *, client_ca: str = "") -> ssl.SSLContext:
    """For the door. With `client_ca`, only clients with a certificate from it get in."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _narrow(context)
    _show(context, certificate, key)
    if client_ca:
        _trust(context, client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _narrow(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])


def _trust(context: ssl.SSLContext, path: str) -> None:
    _readable(path, "certificate authority")
    before = context.cert_store_stats()["x509_ca"]
    try:
        context.load_verify_locations(cafile=path)
    except ssl.SSLError as error:
        raise _wrong(path, "holds no certificate in PEM form", "Look for -----BEGIN CERTIFICATE-----.") from error
    if context.cert_store_stats()["x509_ca"] == before and not _known(context, path):
        raise _wrong(
            path, "is not a certificate authority", "Give the certificate that signed, not the one that was signed."
        )


def _known(context: ssl.SSLContext, path: str) -> bool:
    """The file adds nothing because the store has it already."""
    with open(path, encoding="ascii", errors="replace") as file:
        blocks = file.read().split("-----BEGIN CERTIFICATE-----")[1:]
    held = set(context.get_ca_certs(binary_form=True))
    end = "-----END CERTIFICATE-----"
    return any(_der(block.partition(end)[0]) in held for block in blocks)


def _der(block: str) -> bytes:
    return ssl.PEM_cert_to_DER_cert(f"-----BEGIN CERTIFICATE-----{block}-----END CERTIFICATE-----")


def _show(context: ssl.SSLContext, certificate: str, key: str) -> None:
    _readable(certificate, "certificate")
    if key:
        _readable(key, "key")
    try:
        context.load_cert_chain(certificate, key or None, password=_no_passphrase)
    except _Encrypted as error:
        hint = "Give a key without a passphrase, in a file that only the guard's user can read."
        raise _wrong(key or certificate, "is encrypted", hint) from error
    except ssl.SSLError as error:
        if "MISMATCH" in str(error):
            raise _wrong(
                key, f"does not belong to {certificate}", "Give the key the certificate was made with."
            ) from error
        hint = "Look for -----BEGIN CERTIFICATE----- and -----BEGIN PRIVATE KEY-----."
        raise _wrong(certificate, "and its key could not be read as PEM", hint) from error


class _Encrypted(Exception):
    """The library asks for a passphrase."""


def _no_passphrase() -> str:
    raise _Encrypted


def _readable(path: str, what: str) -> None:
    if not os.path.isfile(path):
        raise _wrong(path, f"is not there ({what})", "Check the path.")
    if not os.access(path, os.R_OK):
        raise _wrong(path, f"can not be read ({what})", "Let the guard's user read it.")


def _wrong(path: str, what: str, hint: str) -> UsageError:
    return UsageError(f"{path} {what}", hint=hint, slug="guard-tls")
