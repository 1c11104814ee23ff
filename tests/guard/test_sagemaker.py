"""SageMaker through the guard with boto3's own client: what leaves is signed anew, for the endpoint's own region, by a signature that botocore's own code finds right.

The server is a stand-in for the runtime API; it works signatures out with botocore, not with ours.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import running

from afterguard.guard.credentials import region_of

boto3 = pytest.importorskip("boto3")
from botocore.auth import SigV4Auth  # noqa: E402
from botocore.awsrequest import AWSRequest  # noqa: E402
from botocore.config import Config  # noqa: E402
from botocore.credentials import Credentials  # noqa: E402
from botocore.exceptions import ClientError  # noqa: E402

ACCESS = "AKIDSTANDIN"


def holds(method: str, url: str, headers: dict[str, str], body: bytes) -> bool:
    """Whether botocore would have made this signature."""
    said = dict(part.strip().partition("=")[::2] for part in headers["authorization"].partition(" ")[2].split(","))
    access, _, region, service, _ = said["Credential"].split("/")
    if (access, region, service) != (ACCESS, "us-east-1", "sagemaker"):
        return False
    names = said["SignedHeaders"].split(";")
    auth = SigV4Auth(Credentials(ACCESS, running.AWS_SECRET), service, region)
    request = AWSRequest(method, url, headers={name: headers[name] for name in names}, data=body)
    request.context["timestamp"] = headers["x-amz-date"]
    wanted = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    return bool(wanted == said["Signature"])


class Runtime(BaseHTTPRequestHandler):
    """POST /endpoints/NAME/invocations."""

    protocol_version = "HTTP/1.1"
    asked: list[dict[str, str]] = []  # noqa: RUF012

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.asked.append(headers)
        if not holds("POST", f"http://{headers['host']}{self.path}", headers, body):
            return self.say(403, {"message": "The request signature we calculated does not match"}, "application/json")
        rows = [line for line in body.decode().splitlines() if line] if b"," in body and body[:1] != b"{" else [""]
        if headers.get("content-type") == "text/csv":
            return self.say(200, ",".join("0.123456" for _ in rows), "text/csv")
        return self.say(200, {"predictions": [{"score": 0.123456, "predicted_label": 0}]}, "application/json")

    def say(self, status: int, value: Any, kind: str) -> None:
        data = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        if status != 200:
            self.send_header("x-amzn-errortype", "InvalidSignatureException")
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Runtime)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    policy = running.rules(
        running.rule("fewer-digits", "round", "response", {"prediction.rows|gte": 1}, digits=2),
        running.rule("no-nan", "block", "request", {"hit.kind": "feature_not_finite"}),
        head="mode: enforce",
    )
    mounts = {"sagemaker": f"http://127.0.0.1:{server.server_port}"}
    try:
        with running.guard("", tmp_path_factory.mktemp("sagemaker"), policy, mounts=mounts) as guard:
            # The caller's own key is another one: the guard's role is what reaches the endpoint.
            session = boto3.session.Session("AKIDCALLER", "another-secret", region_name="us-east-1")
            made = session.client(
                "sagemaker-runtime", endpoint_url=f"{guard.url}/sagemaker", config=Config(retries={"max_attempts": 1})
            )
            made.guard = guard
            yield made
            made.close()
    finally:
        server.shutdown()
        server.server_close()


def test_csv_and_json_are_signed_anew_and_rounded(client: Any) -> None:
    reply = client.invoke_endpoint(EndpointName="fraud", ContentType="text/csv", Body=b"1,2,3\n4,5,6\n")
    assert reply["Body"].read() == b"0.12,0.12"
    reply = client.invoke_endpoint(
        EndpointName="fraud", ContentType="application/json", Body=json.dumps({"instances": [{"features": [1, 2]}]})
    )
    assert json.loads(reply["Body"].read())["predictions"][0]["score"] == 0.12
    assert "AKIDSTANDIN" in Runtime.asked[-1]["authorization"] and "AKIDCALLER" not in str(Runtime.asked[-1])


def test_headers_with_meaning_are_part_of_the_signature(client: Any) -> None:
    reply = client.invoke_endpoint(
        EndpointName="fraud", ContentType="text/csv", Body=b"1,2,3", TargetVariant="blue", InferenceId="case 7", CustomAttributes="a=b c"
    )  # fmt: skip
    assert reply["ResponseMetadata"]["HTTPStatusCode"] == 200
    said = Runtime.asked[-1]
    assert said["x-amzn-sagemaker-target-variant"] == "blue" and said["x-amzn-sagemaker-inference-id"] == "case 7"


def test_what_a_rule_refuses_never_reaches_the_endpoint(client: Any) -> None:
    before = len(Runtime.asked)
    with pytest.raises(ClientError, match=running.SAYS):
        client.invoke_endpoint(EndpointName="fraud", ContentType="text/csv", Body=b"1,nan,inf\n")
    assert len(Runtime.asked) == before


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("bedrock-runtime.eu-west-1.amazonaws.com", "eu-west-1"),
        ("runtime.sagemaker.ap-southeast-2.amazonaws.com", "ap-southeast-2"),
        ("runtime-fips.sagemaker.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("runtime.sagemaker.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("vpce-0a1b.runtime.sagemaker.eu-central-1.vpce.amazonaws.com", "eu-central-1"),
        ("bedrock-runtime.eu-west-1.example.com", "us-east-1"),
        ("localhost", "us-east-1"),
    ],
)
def test_the_region_is_that_of_the_host(host: str, region: str) -> None:
    assert region_of(host) == region
