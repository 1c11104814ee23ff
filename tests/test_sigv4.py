"""Signatures against AWS's published examples, against botocore, and turned back on themselves."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterguard.sigv4 import signed, verified

KEYS = {"access_key": "AKIDEXAMPLE", "secret_key": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
PLACE = {"region": "us-east-1", "service": "service", "time": "20150830T123600Z"}
HOST = (b"Host", b"example.amazonaws.com")
FORM = (b"Content-Type", b"application/x-www-form-urlencoded")
IAM = [(b"host", b"iam.amazonaws.com"), (b"content-type", b"application/x-www-form-urlencoded; charset=utf-8")]
SECRETS = {KEYS["access_key"]: KEYS["secret_key"]}
MINE = ("my-header1", "my-header2")


def signature(headers: list[tuple[bytes, bytes]]) -> str:
    return dict(headers)[b"authorization"].decode().rpartition("Signature=")[2]


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "body", "expected"),
    [
        ("GET", "/", "", [], b"", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", "/", "", [], b"", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        ("GET", "/ሴ", "", [], b"", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
        ("GET", "/./", "", [], b"", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("GET", "/foo/bar/../..", "", [], b"", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("GET", "/", "Param1=value1", [], b"", "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb"),
        ("GET", "/", "Param2=value2&Param1=value1", [], b"", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
        ("POST", "/", "", [FORM], b"Param1=value1", "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"),
        ("GET", "/", "", [(b"My-Header1", b" value1"), (b"My-Header2", b' "a   b   c"')], b"",
         "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"),
        ("GET", "/", "", [(b"My-Header1", b"value2"), (b"My-Header1", b"value2"), (b"My-Header1", b"value1")], b"",
         "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea"),
    ],
)  # fmt: skip
def test_the_published_suite(method: str, path: str, query: str, headers: Any, body: bytes, expected: str) -> None:
    names = ("content-type", *MINE)
    assert signature(signed(method, path, query, [HOST, *headers], body, names=names, **KEYS, **PLACE)) == expected


def test_the_published_walk_through() -> None:
    query = "Action=ListUsers&Version=2010-05-08"
    got = signed("GET", "/", query, IAM, b"", **KEYS, **{**PLACE, "service": "iam"})
    assert signature(got) == "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    assert b"SignedHeaders=content-type;host;x-amz-date," in dict(got)[b"authorization"]


@pytest.mark.parametrize(
    ("path", "query", "service"),
    [
        ("/model/anthropic.claude-3-5-sonnet-20240620-v1%3A0/invoke", "", "bedrock"),
        ("/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fx/converse-stream", "", "bedrock"),
        ("/a/../b//c/./d/", "", "bedrock"),
        ("/a b~c_d-e.f/$&'()*+,;=@", "", "bedrock"),
        ("/foundation-models", "byProvider=Anthropic&byOutputModality=TEXT", "bedrock"),
        ("/bucket/key%20with/../dots", "list-type=2&prefix=a%2Fb", "s3"),
    ],
)
@pytest.mark.parametrize("token", ["", "session/token=="])
def test_the_same_as_botocore(monkeypatch: pytest.MonkeyPatch, path: str, query: str, service: str, token: str) -> None:
    auth = pytest.importorskip("botocore.auth")
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    url = f"https://bedrock-runtime.us-east-1.amazonaws.com{path}" + (f"?{query}" if query else "")
    body = b'{"a": 1}'
    request = AWSRequest("POST", url, headers={"Content-Type": "application/json", "X-Amz-Target": "a  b"}, data=body)
    kind = auth.S3SigV4Auth if service == "s3" else auth.SigV4Auth
    kind(Credentials(KEYS["access_key"], KEYS["secret_key"], token or None), service, "eu-west-1").add_auth(request)
    theirs = {name.lower().encode(): value.encode() for name, value in request.headers.items()}
    time = theirs[b"x-amz-date"].decode()
    headers = [(b"host", b"bedrock-runtime.us-east-1.amazonaws.com"), (b"content-type", b"application/json")]
    headers += [(b"x-amz-target", b"a  b"), (b"Authorization", b"old"), (b"X-Amz-Date", b"20010101T000000Z")]
    ours = signed(
        "POST", path, query, headers, body, session_token=token, region="eu-west-1", service=service, time=time, **KEYS
    )
    assert dict(ours)[b"authorization"] == theirs[b"authorization"]
    names = [name for name, _ in ours]
    assert len(names) == len(set(names))
    assert verified("POST", path, query, ours, body, secrets=SECRETS, region="eu-west-1", service=service) == ""
    sent = [(b"Host", b"bedrock-runtime.us-east-1.amazonaws.com"), *theirs.items()]
    assert verified("POST", path, query, sent, body, secrets=SECRETS) == ""


def test_what_does_not_hold() -> None:
    def why(method: str = "POST", path: str = "/m", query: str = "", body: bytes = b"x", **more: Any) -> str:
        headers = [pair for pair in good if pair[0] not in more.get("without", ())] + more.get("extra", [])
        return verified(method, path, query, headers, body, secrets=more.get("secrets", SECRETS), region="us-east-1")

    good = signed("POST", "/m", "", [HOST, (b"content-type", b"a")], b"x", **KEYS, **PLACE)
    assert why() == ""
    assert why(method="GET") == why(path="/n") == why(query="a=b") == why(body=b"y") == "the signature does not match"
    assert why(secrets={"AKIDEXAMPLE": "other"}) == "the signature does not match"
    assert why(secrets={}) == "unknown access key"
    assert why(without=[b"authorization"]) == "no signature of version 4"
    assert why(without=[b"x-amz-date"]) == "wrong scope"
    assert why(without=[b"content-type"]) == "headers that must be signed are not"
    assert why(extra=[(b"x-amz-security-token", b"new")]) == "headers that must be signed are not"
    assert why(extra=[(b"accept", b"anything")]) == ""
    assert verified("POST", "/m", "", good, b"x", secrets=SECRETS, service="bedrock") == "wrong scope"


TEXT = st.text(max_size=20)


@given(
    TEXT, TEXT, st.lists(st.tuples(st.binary(max_size=10), st.binary(max_size=20)), max_size=4), st.binary(max_size=9)
)
def test_whatever_is_signed_verifies(path: str, query: str, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    kept = [pair for pair in headers if pair[0].lower() not in (b"host", b"authorization", b"x-amz-date")]
    got = signed("POST", "/" + path, query, [HOST, *kept], body, **KEYS, **PLACE)
    assert verified("POST", "/" + path, query, got, body, secrets=SECRETS) == ""


@given(st.binary(max_size=200))
def test_no_authorization_raises(value: bytes) -> None:
    assert verified("POST", "/", "", [(b"authorization", b"AWS4-HMAC-SHA256 " + value)], b"", secrets=SECRETS)
