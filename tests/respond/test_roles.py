"""Who may do what: ID tokens of a real provider, forged ones, and the account behind glass; approvals and their limits."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from ports import free_port

from afterguard.config import GuardConfig
from afterguard.errors import AfterguardError, UsageError
from afterguard.jobs import respond as job
from afterguard.respond import approval, roles
from afterguard.respond.act import Act
from afterguard.respond.journal import Journal
from afterguard.respond.roles import Glass, Person, Role, Roles
from afterguard.respond.settings import Settings

SALT = "cd" * 16
PEOPLE = (("alice", ["soc"]), ("bob", ["soc", "leads"]), ("carol", ["sales"]))


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    """A real OpenID Connect provider, with three people."""
    port = free_port()
    claims = [word for name, groups in PEOPLE for word in ("--user-claims", json.dumps({"sub": name, "email": f"{name}@example.org", "groups": groups}))]  # fmt: skip
    with subprocess.Popen([sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", "-p", str(port), *claims], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:  # fmt: skip
        try:
            limit = time.monotonic() + 60
            while time.monotonic() < limit:
                with socket.socket() as one:
                    if one.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def signed_in(provider: str, name: str, audience: str = "afterguard") -> str:
    """The ID token that the provider gives this person, by the authorization code flow."""
    back = "http://127.0.0.1/back"
    query = urllib.parse.urlencode({"client_id": audience, "redirect_uri": back, "response_type": "code", "scope": "openid email profile groups", "state": "s"})  # fmt: skip

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:
            return None

    opener = urllib.request.build_opener(Stay)
    try:
        opener.open(f"{provider}/oauth2/authorize?{query}", urllib.parse.urlencode({"sub": name}).encode(), timeout=20)
        raise AssertionError("no redirect")
    except urllib.error.HTTPError as error:
        with error:
            where = error.headers["location"]
    code = urllib.parse.parse_qs(urllib.parse.urlsplit(where).query)["code"][0]
    form = urllib.parse.urlencode({"grant_type": "authorization_code", "code": code, "redirect_uri": back, "client_id": audience, "client_secret": "any"})  # fmt: skip
    with urllib.request.urlopen(urllib.request.Request(f"{provider}/oauth2/token", form.encode()), timeout=20) as reply:
        return str(json.load(reply)["id_token"])


def known(provider: str) -> Roles:
    glass = Glass("envelope", SALT, roles.hashed("sixteen letters at least", SALT))
    return Roles("afterguard.roles/1", {"responder": Role(groups=["soc"]), "lead": Role(groups=["leads"])}, provider, "afterguard", break_glass=glass)  # fmt: skip


def room(provider: str, folder: Path) -> job.Room:
    return job.Room(folder, Settings("afterguard.respond/1"), GuardConfig(), folder, folder / "log", known(provider))


def test_groups_of_a_real_provider_become_roles_and_forged_tokens_do_not(provider: str, tmp_path: Path) -> None:
    here = room(provider, tmp_path)
    token = signed_in(provider, "bob")
    person = job.person_of(here, "root", token, "", "")
    assert person == Person(f"oidc:{provider}#bob", "bob@example.org", ("lead", "responder"), "oidc")
    assert job.person_of(here, "root", signed_in(provider, "carol"), "", "").roles == ()
    head, body, mark = token.split(".")
    told = json.loads(base64.urlsafe_b64decode(body + "=="))
    plain = base64.urlsafe_b64encode(json.dumps({**told, "sub": "alice"}).encode()).decode().rstrip("=")
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    hs = base64.urlsafe_b64encode(json.dumps({**json.loads(base64.urlsafe_b64decode(head + "==")), "alg": "HS256"}).encode()).decode().rstrip("=")  # fmt: skip
    for bad in (
        f"{head}.{plain}.{mark}",
        f"{none}.{body}.",
        f"{hs}.{body}.{mark}",
        "",
        "a.b.c",
        signed_in(provider, "bob", "other"),
    ):
        if bad:
            with pytest.raises(UsageError):
                job.person_of(here, "root", bad, "", "")
    keys = job.provider_keys(known(provider))
    with pytest.raises(UsageError, match="over"):
        roles.by_token(known(provider), token, keys, time.time() + 9e4)
    with pytest.raises(UsageError, match="account"):
        job.person_of(here, "root", "", "", "")  # an account of this machine is nobody where a provider has the say


@settings(max_examples=30, deadline=None)
@given(
    st.text(max_size=60)
    | st.binary(max_size=60).map(lambda b: ".".join(base64.urlsafe_b64encode(b).decode() for _ in range(3)))
)
def test_no_token_makes_it_stumble(token: str) -> None:
    with pytest.raises(AfterguardError):
        roles.by_token(known("https://p.example"), token, b'{"keys": []}', 1.0)


ACT = Act("act-1", "c", "b", "s", "contain", "quarantine_identity", "key", "k", "t", approvals=2, wait=100)
ALICE, BOB, DAN, EVE = (
    Person(f"oidc:p#{name}", name, ("responder",), "oidc") for name in ("alice", "bob", "dan", "eve")
)
CAROL = Person("oidc:p#carol", "carol", (), "oidc")


def asked(folder: Path) -> Journal:
    journal = Journal(folder / "j", Ed25519PrivateKey.from_private_bytes(b"j" * 32), case="c", who=ALICE.id, now=0.0)
    journal.write("requested", ALICE.id, 0.0, act=ACT.id, body={"act": job.digest((ACT,))})
    return journal


def settle(journal: Journal, person: Person, now: float = 1.0, *, agrees: bool = True) -> None:
    job.settle(journal, (ACT,), ACT.id, person, agrees=agrees, reason="because", now=now)


def test_a_quorum_is_different_people_with_the_role_none_of_whom_asked(tmp_path: Path) -> None:
    journal = asked(tmp_path)
    for person, says in ((ALICE, "who asks cannot"), (CAROL, "needs the role")):
        with pytest.raises(UsageError, match=says):
            settle(journal, person)
    settle(journal, BOB)
    with pytest.raises(UsageError, match="another person"):
        settle(journal, BOB)
    assert approval.stand(ACT, journal.lines, 2.0).state == "waiting"
    other = Act("act-1", "c", "b", "s", "contain", "quarantine_identity", "key", "somebody else", "t", approvals=2)
    settle(journal, DAN)
    assert approval.stand(ACT, journal.lines, 2.0).state == "approved"
    assert approval.stand(other, journal.lines, 2.0).state == "none"  # approved was something else
    with pytest.raises(UsageError, match="approved already"):
        settle(journal, EVE)


def test_a_no_ends_it_and_so_does_time_and_the_glass_is_loud(tmp_path: Path) -> None:
    journal = asked(tmp_path)
    assert approval.stand(ACT, journal.lines, 101.0).state == "late"
    with pytest.raises(UsageError, match="time for it is over"):
        settle(journal, BOB, 101.0)
    settle(journal, Person("glass:envelope", "envelope", ("lead", "responder"), "break_glass"))
    assert approval.stand(ACT, journal.lines, 101.0).state == "approved" and journal.lines[-1].what == "break_glass"
    again = asked(tmp_path / "again")
    settle(again, BOB, agrees=False)
    assert approval.stand(ACT, again.lines, 2.0).state == "denied"
    assert roles.by_glass(known("https://p"), "envelope", "sixteen letters at least").is_glass
    for account, password in (("envelope", "wrong"), ("other", "sixteen letters at least")):
        with pytest.raises(UsageError):
            roles.by_glass(known("https://p"), account, password)
