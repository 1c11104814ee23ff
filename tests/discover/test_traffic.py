"""Logs of many servers -> assets: what is recognised, what is claimed and what must not be."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from soon import soon

from afterguard.detect.prefilter import Prefilter
from afterguard.discover import traffic
from afterguard.discover.gaps import Period
from afterguard.discover.inventory import join
from afterguard.discover.traffic import BILLS, LINES, RECORD_LINES, RECORDS, TABLES, read, recognise
from afterguard.files import Line, lines, open_stream
from afterguard.model import Asset, AssetKind, Certainty, Coverage, Evidence

UA = '"OpenAI/Python 1.51.0"'
NGINX = f"""10.1.2.3 - - [03/Nov/2026:10:00:00 +0100] "GET /health HTTP/1.1" 200 2 "-" "kube-probe/1.29"
10.1.2.3 - - [03/Nov/2026:10:00:01 +0100] "POST /v1/chat/completions?key=sk-abcdef0123456789abcdef HTTP/1.1" 200 1534 "-" {UA}
10.1.2.4 - - [04/Nov/2026:12:00:01 +0100] "POST /v1/chat/completions HTTP/1.1" 200 1534 "-" {UA}
"""
SQUID = """1793700000.586    921 192.168.0.68 TCP_TUNNEL/200 5070 CONNECT api.OpenAI.com:443 - HIER_DIRECT/1.2.3.4 -
1793700100.586    921 192.168.0.68 TCP_TUNNEL/200 507 CONNECT notopenai.com:443 - HIER_DIRECT/1.2.3.4 -
1793700200.586    921 192.168.0.69 TCP_TUNNEL/200 507 CONNECT api.openai.com.evil.example:443 - HIER_DIRECT/1.2.3.4 -
1793700300.586    921 192.168.0.69 TCP_DENIED/403 507 CONNECT chatgpt.com:443 - HIER_NONE/- text/html
"""
APACHE = 'app.example.com:443 10.0.0.9 - bob [03/Nov/2026:10:00:01 +0000] "POST /openai/deployments/gpt4o-prod/chat/completions?api-version=1 HTTP/1.1" 200 88\n'
ALB = 'https 2026-11-02T22:23:00.186641Z app/lb/50dc6c495c0c9188 192.168.131.39:2817 10.0.0.1:11434 0.086 2.048 0.037 200 200 34 366 "POST https://ai.example.com:443/api/chat HTTP/1.1" "Mozilla/5.0 (X11)" ECDHE TLSv1.2 arn:aws:x "Root=1-58337281-1d84f3d73c47ec4e58577259" "ai.example.com" "arn" 0 2026-11-02T22:22:48.364000Z "forward" "-" "-" "10.0.0.1:11434" "200" "-" "-"\n'
ENVOY = '[2026-11-15T20:17:00.310Z] "POST /v1/messages HTTP/2" 200 - 154 2000 226 100 "10.0.35.28" "python-httpx/0.27" "cc21d9b0-cf5c-432b-8c7e-98aeb7988cd2" "api.anthropic.com" "10.0.2.1:443"\n'
ENVOY_JSON = (
    json.dumps(
        {
            "start_time": "2026-11-15T20:17:00.310Z",
            "method": "POST",
            "path": "/v1/chat/completions?x=1",
            "authority": "api.mistral.ai",
            "response_code": 200,
            "bytes_sent": 12,
            "user_agent": "x",
            "upstream_cluster": "outbound|443||api.mistral.ai",
        }
    )
    + "\n"
)
NGINX_JSON = (
    json.dumps(
        {
            "time_local": "03/Nov/2026:10:00:01 +0000",
            "remote_addr": "10.2.2.2",
            "request": "POST /v1/embeddings HTTP/1.1",
            "status": "200",
            "body_bytes_sent": "900",
            "http_user_agent": "curl/8",
        }
    )
    + "\n"
)
CADDY = (
    json.dumps(
        {
            "level": "info",
            "ts": 1793700000.12,
            "logger": "http.log.access",
            "msg": "handled request",
            "request": {
                "remote_ip": "10.0.0.1",
                "method": "POST",
                "host": "app.example",
                "uri": "/api/assistant",
                "headers": {"User-Agent": ["Mozilla/5.0"]},
            },
            "status": 200,
            "size": 999,
            "duration": 3.2,
            "resp_headers": {"Content-Type": ["text/event-stream"]},
        }
    )
    + "\n"
)
BIND = "21-Nov-2026 10:00:00.123 queries: info: client @0x7f2c 10.0.0.5#53124 (API.OPENAI.COM): query: API.OPENAI.COM IN A +E(0)K (10.0.0.1)\n"
DNSMASQ = "Nov 21 10:00:00 dnsmasq[123]: query[A] api.anthropic.com from 10.0.0.5\nNov 21 10:00:00 dnsmasq[123]: reply api.anthropic.com is 1.2.3.4\n"
UNBOUND = "[1793700000] unbound[123:0] info: 10.0.0.5 api.cohere.com. A IN\n"
COREDNS = '[INFO] 10.0.0.5:53124 - 12345 "A IN api.groq.com. udp 40 false 512" NOERROR qr,rd,ra 96 0.002s\n'
WINDOWS = "11/21/2026 10:00:00 AM 0A30 PACKET  000000 UDP Rcv 10.0.0.5    0002   Q [0001   D   NOERROR] A      (3)api(6)openai(3)com(0)\n"
ROUTE53 = (
    json.dumps(
        {
            "version": "1.1",
            "account_id": "1",
            "region": "eu-west-1",
            "vpc_id": "vpc-1",
            "query_timestamp": "2026-11-03T10:00:00Z",
            "query_name": "bedrock-runtime.eu-west-1.amazonaws.com.",
            "query_type": "A",
            "query_class": "IN",
            "rcode": "NOERROR",
            "srcaddr": "10.0.0.4",
            "srcids": {"instance": "i-1"},
        }
    )
    + "\n"
)
ZEEK_DNS = "#separator \\x09\n#path\tdns\n#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tquery\n#types\ttime\tstring\taddr\tport\taddr\tport\tenum\tstring\n1793700000.1\tC1\t10.0.0.2\t5353\t10.0.0.1\t53\tudp\topenrouter.ai\n#close\t2026\n"
ZEEK_SSL = "#separator \\x09\n#path\tssl\n#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tversion\tserver_name\n1793700000.1\tC1\t10.0.0.2\t5353\t1.2.3.4\t443\tTLSv13\tapi.deepseek.com\n"
W3C = "#Version: 1.0\n#Fields: date time c-ip cs-method cs-host cs-uri-stem sc-status sc-bytes cs(User-Agent)\n2026-11-03 10:00:00 10.0.0.1 POST api.x.ai /v1/chat/completions 200 100 python-requests/2.31\n"
CSV = 'timestamp,src_ip,dest_host,bytes\n2026-11-03T10:00:00Z,10.0.0.1,api.perplexity.ai,1000\n2026-11-03T10:00:00Z,10.0.0.1,"www.example.com",1000\n'
CLIENT = '2026-11-01 10:00:00,123 INFO httpx HTTP Request: POST https://api.openai.com/v1/chat/completions "HTTP/1.1 200 OK"\n2026-11-01 10:00:01,000 INFO app started\n'
TRAIL = {
    "eventVersion": "1.09",
    "userIdentity": {"arn": "arn:aws:sts::111122223333:assumed-role/app/x"},
    "eventTime": "2026-11-03T10:00:00Z",
    "eventSource": "bedrock.amazonaws.com",
    "eventName": "InvokeModel",
    "awsRegion": "eu-west-1",
    "sourceIPAddress": "10.0.0.1",
    "userAgent": "Boto3/1.34",
    "requestParameters": {"modelId": "anthropic.claude-3-5-sonnet-20240620-v1:0"},
    "responseElements": None,
}
LOOKED = {**TRAIL, "eventName": "ListFoundationModels", "requestParameters": None}
GCP = {
    "timestamp": "2026-11-03T10:00:00Z",
    "protoPayload": {
        "@type": "type.googleapis.com/google.cloud.audit.AuditLog",
        "serviceName": "aiplatform.googleapis.com",
        "methodName": "google.cloud.aiplatform.v1.PredictionService.GenerateContent",
        "resourceName": "projects/p/locations/l/publishers/google/models/gemini-2.0-flash",
        "authenticationInfo": {"principalEmail": "a@b.c"},
    },
}
AZURE = {
    "time": "2026-11-03T10:00:00Z",
    "resourceId": "/SUBSCRIPTIONS/1/RESOURCEGROUPS/R/PROVIDERS/MICROSOFT.COGNITIVESERVICES/ACCOUNTS/ACC",
    "category": "RequestResponse",
    "operationName": "ChatCompletions_Create",
    "callerIPAddress": "10.0.0.***",
    "properties": json.dumps({"modelDeploymentName": "chat", "modelName": "gpt-4o"}),
}
HAR = {
    "log": {
        "version": "1.2",
        "creator": {"name": "x"},
        "entries": [
            {
                "startedDateTime": "2026-11-03T10:00:00.000Z",
                "request": {
                    "method": "POST",
                    "url": "https://llm.corp.example/gateway/ask?token=abc",
                    "headers": [],
                    "postData": {
                        "mimeType": "application/json",
                        "text": json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "my secret"}]}),
                    },
                },
                "response": {"status": 200, "content": {"size": 5, "mimeType": "application/json"}, "headers": []},
            }
        ],
    }
}
CUR = "identity/LineItemId,lineItem/UsageAccountId,lineItem/UsageStartDate,lineItem/ProductCode,lineItem/UsageType,lineItem/UnblendedCost,lineItem/CurrencyCode,product/ProductName\n1,111122223333,2026-11-01T00:00:00Z,AmazonBedrock,EUW1-Claude3.5Sonnet-input-tokens,12.50,USD,Amazon Bedrock\n2,111122223333,2026-11-02T00:00:00Z,AmazonS3,EUW1-Bytes,1.50,USD,Amazon S3\n3,111122223333,2026-11-02T00:00:00Z,AmazonBedrock,x,2.50,USD,Amazon Bedrock\n"
CUR2 = "line_item_usage_account_id,line_item_usage_start_date,line_item_product_code,line_item_usage_type,line_item_unblended_cost\n1,2026-11-01 00:00:00,AmazonSageMaker,EUW1-Host:ml.g5.xlarge,3.0\n"
EXPLORER = '"Service","S3($)","Amazon Bedrock($)","Total costs($)"\n"2026-11-01","1.0","20.25","21.25"\n'
AZURE_BILL = "Date,SubscriptionId,MeterCategory,MeterSubCategory,MeterName,CostInBillingCurrency,BillingCurrencyCode\n11/01/2026,s,Cognitive Services,Azure OpenAI,gpt-4o Input,4.5,EUR\n"
GCP_BILL = "Project ID,Service description,SKU description,Usage start date,Cost ($)\np,Vertex AI,Gemini 2.0 Flash Text Input,2026-11-01,3.2\n"
EXPENSES = "Date,Description,Amount,Currency\n2026-11-02,OPENAI *CHATGPT SUBSCR,20.00,USD\n2026-11-02,OPENAIR FESTIVAL,80.00,USD\n"


def run(text: str | bytes, kind: str = "") -> tuple[str, list[Asset], list[Coverage]]:
    data = text.encode() if isinstance(text, str) else text
    found = kind or recognise("x.log", data)
    notes: list[Coverage] = []
    assets = (
        list(read(found, "x.log", iter([Line(n, one) for n, one in enumerate(data.split(b"\n"), 1)]), notes.append))
        if found
        else []
    )
    return found, assets, notes


def names(assets: list[Asset]) -> set[tuple[str, str]]:
    return {(one.kind.value, one.name) for one in assets}


CASES = [
    (NGINX, "access", {("ai_endpoint", "POST /v1/chat/completions")}),
    (SQUID, "squid", {("provider", "openai"), ("provider", "chatgpt.com")}),
    (APACHE, "access", {("ai_endpoint", "POST /openai/deployments/gpt4o-prod/chat/completions"), ("model", "gpt4o-prod")}),
    (ALB, "access", {("ai_endpoint", "POST /api/chat"), ("inference_server", "ollama")}),
    (ENVOY, "access", {("provider", "anthropic")}),
    (ENVOY_JSON, "json", {("provider", "mistral")}),
    (NGINX_JSON, "json", {("ai_endpoint", "POST /v1/embeddings")}),
    (CADDY, "json", {("ai_endpoint", "POST /api/assistant")}),
    (BIND, "bind", {("provider", "openai")}),
    (DNSMASQ, "dnsmasq", {("provider", "anthropic")}),
    (UNBOUND, "unbound", {("provider", "cohere")}),
    (COREDNS, "coredns", {("provider", "groq")}),
    (WINDOWS, "windows_dns", {("provider", "openai")}),
    (ROUTE53, "json", {("cloud_ai_service", "aws-bedrock")}),
    (ZEEK_DNS, "zeek", {("provider", "openrouter")}),
    (ZEEK_SSL, "zeek", {("provider", "deepseek")}),
    (W3C, "w3c", {("provider", "xai")}),
    (CSV, "csv_hosts", {("provider", "perplexity")}),
    (CLIENT, "client", {("provider", "openai")}),
    (json.dumps({"Records": [TRAIL, LOOKED]}), "cloudtrail", {("cloud_ai_service", "aws-bedrock"), ("model", "anthropic.claude-3-5-sonnet-20240620-v1:0")}),
    (json.dumps({"Records": [TRAIL, LOOKED]}, indent=2), "cloudtrail", {("cloud_ai_service", "aws-bedrock"), ("model", "anthropic.claude-3-5-sonnet-20240620-v1:0")}),
    (json.dumps(TRAIL) + "\n" + json.dumps(LOOKED) + "\n", "cloudtrail_lines", {("cloud_ai_service", "aws-bedrock"), ("model", "anthropic.claude-3-5-sonnet-20240620-v1:0")}),
    (json.dumps({"Events": [{"EventId": "1", "EventSource": "bedrock.amazonaws.com", "CloudTrailEvent": json.dumps(TRAIL)}]}), "cloudtrail", {("cloud_ai_service", "aws-bedrock"), ("model", "anthropic.claude-3-5-sonnet-20240620-v1:0")}),
    (json.dumps(GCP) + "\n", "gcp_audit_lines", {("cloud_ai_service", "google-vertex-ai"), ("model", "gemini-2.0-flash")}),
    (json.dumps([GCP], indent=1), "gcp_audit", {("cloud_ai_service", "google-vertex-ai"), ("model", "gemini-2.0-flash")}),
    (json.dumps(AZURE) + "\n", "azure_activity_lines", {("cloud_ai_service", "azure-openai"), ("model", "gpt-4o")}),
    (json.dumps({"records": [AZURE]}), "azure_activity", {("cloud_ai_service", "azure-openai"), ("model", "gpt-4o")}),
    (json.dumps(HAR), "har", {("ai_endpoint", "POST llm.corp.example/gateway/ask"), ("model", "gpt-4o")}),
    (json.dumps(HAR, indent=2), "har", {("ai_endpoint", "POST llm.corp.example/gateway/ask"), ("model", "gpt-4o")}),
    (CUR, "aws_cur", {("cloud_ai_service", "aws-bedrock"), ("model", "claude3.5sonnet-input-tokens")}),
    (CUR2, "aws_cur", {("cloud_ai_service", "aws-sagemaker")}),
    (EXPLORER, "aws_cost_explorer", {("cloud_ai_service", "aws-bedrock")}),
    (AZURE_BILL, "azure_usage", {("cloud_ai_service", "azure-openai"), ("model", "gpt-4o")}),
    (GCP_BILL, "gcp_billing", {("cloud_ai_service", "google-vertex-ai"), ("model", "gemini 2.0 flash")}),
    (EXPENSES, "expenses", {("provider", "openai")}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "kind", "expected"), CASES)
def test_each_format(text: str, kind: str, expected: set[tuple[str, str]]) -> None:
    found, assets, notes = run(text)
    assert found == kind
    assert names(assets) == expected
    assert notes == []
    assert all(one.evidence and one.evidence[0].line >= 1 for one in assets)


def test_nothing_secret_or_personal_is_shown() -> None:
    for text in (NGINX, SQUID, json.dumps(HAR), json.dumps({"Records": [TRAIL]}), ALB):
        shown = repr(run(text)[1])
        for word in ("sk-abc", "10.1.2.3", "192.168.", "my secret", "token=", "111122223333", "assumed-role"):
            assert word not in shown


def test_counts_hours_and_zones() -> None:
    (one,) = run(NGINX)[1]
    assert one.attributes["requests"] == "2"
    assert one.attributes["bytes"] == "3068"
    assert one.attributes["distinct_clients"] == "2"
    assert one.attributes["peak_per_hour"] == "1"
    assert (one.attributes["first_hour"], one.attributes["last_hour"]) == ("2026-11-03T09", "2026-11-04T11")
    assert one.attributes["user_agent"] == "openai-python"
    assert one.first_seen == 1793696401.0
    assert "time_zone" not in one.attributes
    assert run(CLIENT)[1][0].attributes["time_zone"] == "assumed"
    assert [place.line for place in one.evidence] == [2]


def test_staff_tools_are_told_apart() -> None:
    assets = {one.name: one for one in run(SQUID)[1]}
    assert assets["chatgpt.com"].attributes["use"] == "staff"
    assert assets["chatgpt.com"].attributes["denied"] == "1"
    assert assets["openai"].attributes["use"] == "application"
    assert assets["openai"].attributes["requests"] == "1"


COMBINED = '10.0.0.1 - - [03/Nov/2026:10:00:00 +0000] "{}" {} 1534 "{}" "{}"\n'


@pytest.mark.parametrize(
    "line",
    [
        COMBINED.format("GET / HTTP/1.1", 200, "https://chatgpt.com/", "Mozilla/5.0"),
        COMBINED.format("GET /robots.txt HTTP/1.1", 200, "-", "Mozilla/5.0 (compatible; GPTBot/1.2; +https://openai.com/gptbot)"),
        COMBINED.format("POST /v1/chat/completions HTTP/1.1", 404, "-", "zgrab/0.x"),
        COMBINED.format("GET /v1/models HTTP/1.1", 200, "-", "curl/8.0"),
        COMBINED.format("POST /v1/messages HTTP/1.1", 200, "-", "okhttp/4.9"),
        COMBINED.format("POST /api/chat HTTP/1.1", 200, "-", "Mozilla/5.0"),
        COMBINED.format("POST /api/generate HTTP/1.1", 200, "-", "Mozilla/5.0"),
        COMBINED.format("GET /blog/api.openai.com-review HTTP/1.1", 200, "-", "Mozilla/5.0"),
        COMBINED.format("GET /search?q=https://api.openai.com/v1/chat/completions HTTP/1.1", 200, "-", "Mozilla/5.0"),
        COMBINED.format("CONNECT notopenai.com:443 HTTP/1.1", 200, "-", "-"),
        COMBINED.format("CONNECT api.openai.com.evil.example:443 HTTP/1.1", 200, "-", "-"),
        COMBINED.format("GET /openai/logo.png HTTP/1.1", 200, "https://claude.ai/", "Mozilla/5.0"),
        COMBINED.format("POST /sse/mcp-docs HTTP/1.1", 200, "-", "Mozilla/5.0"),
    ],
)  # fmt: skip
def test_what_is_no_use_of_ai(line: str) -> None:
    kind, assets, notes = run(line)
    assert (kind, assets, notes) == ("access", [], [])


def test_two_paths_of_one_product_are_two_marks() -> None:
    text = COMBINED.format("POST /api/chat HTTP/1.1", 200, "-", "x") + COMBINED.format(
        "GET /api/tags HTTP/1.1", 200, "-", "x"
    )
    assert names(run(text)[1]) == {("ai_endpoint", "POST /api/chat"), ("ai_endpoint", "GET /api/tags")}


def test_an_event_stream_is_the_second_mark() -> None:
    text = '10.0.0.1 - - [03/Nov/2026:10:00:00 +0000] "POST /api/chat HTTP/1.1" 200 9 "-" "Mozilla/5.0" "text/event-stream" rt=4.1\n'
    assert names(run(text)[1]) == {("ai_endpoint", "POST /api/chat")}


@pytest.mark.parametrize("host", ["api.openai.com.", "API.OPENAI.COM", "api.openai.com:443", "user@api.openai.com:443"])
def test_spellings_of_a_host(host: str) -> None:
    text = f"1793700000.586    921 192.168.0.68 TCP_TUNNEL/200 507 CONNECT {host} - HIER_DIRECT/1.2.3.4 -\n"
    assert names(run(text)[1]) == {("provider", "openai")}


def test_a_word_in_a_path_needs_code_that_names_it() -> None:
    seen = run(COMBINED.format("POST /api/chat/17 HTTP/1.1", 200, "-", "Mozilla/5.0") * 900)[1]
    assert [one.attributes["sign"] for one in seen] == ["one mark"]
    assert join(seen) == ()
    code = Asset(AssetKind.ai_endpoint, "POST /api/chat/{id}", Certainty.declared, (Evidence("app.py", 3, "x"),))
    (one,) = join([code, *seen])
    assert (one.name, one.attributes["requests"], one.attributes["sources"]) == (
        "POST /api/chat/{id}",
        "900",
        "code traffic",
    )


def test_the_whole_log_can_be_the_second_mark() -> None:
    timed = '10.0.0.1 - - [03/Nov/2026:10:00:00 +0000] "POST {} HTTP/1.1" 200 {} "-" "Mozilla/5.0" rt={}\n'
    slow = [timed.format("/api/assistant", 900, "4.2")] * 6
    (one,) = run("".join(slow))[1]
    assert (one.name, one.confidence, one.attributes["sign"]) == (
        "POST /api/assistant",
        Certainty.unresolved,
        "slow answers",
    )
    (one,) = run(timed.format("/predict", 120, "0.01") * 12)[1]
    assert (one.name, one.attributes["sign"]) == ("POST /predict", "many small answers")
    assert join(run(timed.format("/support/chat", 900, "0.02") * 50)[1]) == ()


def test_lines_that_do_not_parse_are_counted() -> None:
    broken = "garbage\n" * 3 + 'half [03/Nov/2026:10:00:00 +0000] "POST /v1/chat/compl\n'
    _, assets, notes = run(NGINX * 3 + broken)
    assert len(assets) == 1
    assert [(one.path, one.reason, one.count) for one in notes] == [("x.log", "bad_syntax", 4)]


def test_a_truncated_document_is_said() -> None:
    text = json.dumps({"Records": [TRAIL, TRAIL]})
    kind, assets, notes = run(text[:-30])
    assert kind == "cloudtrail"
    assert dict(assets[0].attributes)["requests"] == "1"
    assert [one.reason for one in notes] == ["truncated"]


def test_the_period_is_told() -> None:
    told: list[Period] = []
    list(
        read(
            "squid",
            "p",
            iter([Line(n, one.encode()) for n, one in enumerate(SQUID.split("\n"), 1)]),
            print,
            told.append,
        )
    )
    assert told[0].outward
    assert told[0].seconds == 300.0
    text = json.dumps({"Records": [LOOKED, {**LOOKED, "eventTime": "2026-11-05T10:00:00Z"}]})
    assert list(read("cloudtrail", "p", iter([Line(1, text.encode())]), print, told.append)) == []
    assert (told[1].clouds, told[1].seconds) == (("aws",), 2 * 86_400.0)


def test_sources_of_other_kinds_are_not_traffic() -> None:
    for text in (
        "import openai\nclient = openai.OpenAI()\n",
        "# Title\n\nCall https://api.openai.com/v1/chat/completions with POST.\n",
        json.dumps({"messages": [{"role": "user", "content": "hi"}], "timestamp": "2026-11-01T00:00:00Z", "url": "/x"})
        + "\n",
        json.dumps({"name": "pkg", "url": "https://api.openai.com"}),
        "name,age\nx,1\n",
        "",
        "\n\n",
        "\x00\x01\x02",
        "openai==1.2\n",
        json.dumps({"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put"}]}),
        "title,url,date\nA,https://huggingface.co/x,2026-11-01\n",
        json.dumps({"app": {"log": {"creator": "x", "entries": []}}}, indent=1),
    ):
        assert recognise("any", text.encode()) == "", text


def test_a_compressed_log_is_streamed(tmp_path: Path) -> None:
    file = tmp_path / "squid.log.gz"
    file.write_bytes(gzip.compress((SQUID * 5000).encode()))
    with open_stream(file, "squid.log.gz", print) as stream:
        assets = list(read("squid", "squid.log.gz", lines(stream), print))
    assert {one.name: one.attributes["requests"] for one in assets} == {"openai": "5000", "chatgpt.com": "5000"}


KINDS = [*LINES, *TABLES, *BILLS, *RECORDS, *RECORD_LINES]
SAMPLES = "".join(text for text, _, _ in CASES)


@settings(max_examples=150)
@given(st.sampled_from(KINDS), st.sampled_from([text for text, _, _ in CASES]), st.data())
def test_damaged_logs_never_raise(kind: str, text: str, data: st.DataObject) -> None:
    raw = bytearray(text.encode())
    for _ in range(data.draw(st.integers(0, 6))):
        at = data.draw(st.integers(0, max(0, len(raw) - 1)))
        raw[at : at + data.draw(st.integers(0, 5))] = data.draw(st.binary(max_size=6))
    run(bytes(raw), kind)
    run(bytes(raw))


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    run(data)
    for kind in KINDS:
        run(data, kind)


def test_kinds_are_what_the_assets_model_knows() -> None:
    assert AssetKind("ai_endpoint") is AssetKind.ai_endpoint


MORE = [
    ("domain,queries\napi.openai.com,120\nexample.com,3\n", "csv_hosts", {("provider", "openai")}),
    ("Time,User,Device,Destination Host,Bytes\n2026-11-03 10:00:00,u,d,api.anthropic.com,5\n", "csv_hosts", {("provider", "anthropic")}),
    ('INFO:     10.0.0.7:54321 - "POST /v1/chat/completions HTTP/1.1" 200 OK\nINFO:     10.0.0.7:54321 - "GET /docs HTTP/1.1" 200 OK\n', "access", {("ai_endpoint", "POST /v1/chat/completions")}),
    ('[GIN] 2026/11/03 - 10:00:00 | 200 |  3.212s |       127.0.0.1 | POST     "/api/chat"\n[GIN] 2026/11/03 - 10:00:00 | 200 |  1.1ms |       127.0.0.1 | GET      "/api/tags"\n', "gin", {("ai_endpoint", "POST /api/chat"), ("ai_endpoint", "GET /api/tags")}),
    ('Nov  3 10:00:00 lb haproxy[12]: 10.0.0.1:3333 [03/Nov/2026:10:00:00.123] http-in~ be/srv 0/0/1/200/201 200 1234 - - ---- 1/1/1/0/0 0/0 "POST /v1/chat/completions HTTP/1.1"\n', "access", {("ai_endpoint", "POST /v1/chat/completions")}),
    ('10.0.0.1 - - [03/Nov/2026:10:00:00 +0000] "POST /api/chat HTTP/1.1" 200 12 "-" "-" 5 "chat@docker" "http://10.0.0.5:11434" 3012ms\n', "access", {("ai_endpoint", "POST /api/chat"), ("inference_server", "ollama")}),
    ('date=2026-11-03 time=10:00:00 devname="fw" srcip=10.0.0.1 dstport=443 hostname="api.anthropic.com" url="/v1/messages" action="passthrough" sentbyte=1200\n', "keyed", {("provider", "anthropic")}),
    ('2026-11-03T10:00:00+00:00 heroku[router]: at=info method=POST path="/v1/chat/completions" host=app.example.com request_id=1 fwd="10.0.0.1" status=200 bytes=400\n', "keyed", {("ai_endpoint", "POST /v1/chat/completions")}),
    (json.dumps({"timestamp": "2026-11-03T10:00:00.1+0000", "event_type": "tls", "src_ip": "10.0.0.1", "dest_port": 443, "tls": {"sni": "api.mistral.ai", "version": "TLS 1.3"}}) + "\n", "json", {("provider", "mistral")}),
    (json.dumps({"EdgeStartTimestamp": "2026-11-03T10:00:00Z", "ClientRequestHost": "app.example", "ClientRequestURI": "/v1/embeddings", "ClientRequestMethod": "POST", "EdgeResponseStatus": 200, "ClientIP": "10.0.0.1"}) + "\n", "json", {("ai_endpoint", "POST /v1/embeddings")}),
    (json.dumps({"timestamp": "2026-11-03T10:00:00Z", "httpRequest": {"requestMethod": "POST", "requestUrl": "https://app.example/v1/chat/completions", "status": 200, "remoteIp": "10.0.0.1"}}) + "\n", "json", {("ai_endpoint", "POST /v1/chat/completions")}),
    ("#Version: 1.0\n#Fields: date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) cs(User-Agent)\n2026-11-03\t10:00:00\tFRA\t100\t10.0.0.1\tPOST\td1.cloudfront.net\t/v1/chat/completions\t200\t-\tMozilla/5.0%20(X)\n", "w3c", {("ai_endpoint", "POST /v1/chat/completions")}),
    ("10:00:00.123456 IP 10.0.0.5.51234 > 8.8.8.8.53: 4242+ A? api.openai.com. (32)\n10:00:00.223456 IP 8.8.8.8.53 > 10.0.0.5.51234: 4242 1/0/0 A 1.2.3.4 (48)\n", "tcpdump", {("provider", "openai")}),
    ('<14>Nov  3 10:00:00 web1 app: {"time":"2026-11-03T10:00:00Z","method":"POST","host":"api.openai.com","path":"/v1/chat/completions","status":200}\n', "json", {("provider", "openai")}),
]  # fmt: skip


PLAIN = NGINX.split("\n")[1]
WRAPPINGS = [
    *(("wrapped-access", json.dumps({"log": PLAIN + "\n", "stream": "stdout", "time": "2026-11-03T10:00:00Z"}) + "\n" + line) for line in ("", "{broken\n")),
    ("wrapped-access", f"2026-11-03T10:00:00.123456789Z stdout F {PLAIN}\n"),
    ("wrapped-access", json.dumps({"@timestamp": "2026-11-03T10:00:00Z", "message": PLAIN, "host": {"name": "web1"}}) + "\n"),
    ("wrapped-client", json.dumps({"timestamp": "2026-11-03T10:00:00Z", "level": "INFO", "message": 'HTTP Request: POST https://api.openai.com/v1/chat/completions "HTTP/1.1 200 OK"'}) + "\n" + json.dumps({"level": "INFO", "message": "worker number 1 has started"}) + "\n" + json.dumps({"level": "INFO", "message": "worker number 2 has started"}) + "\n" * 2 + json.dumps({"level": "INFO", "message": "worker number 3 has started"}) + "\n"),
    ("client", 'INFO 11-03 10:00:00 engine.py: started\nINFO 11-03 10:00:00 engine.py: ready\nINFO:     10.0.0.7:54321 - "POST /v1/chat/completions HTTP/1.1" 200 OK\n'),
    ("wrapped-json", json.dumps({"log": NGINX_JSON, "stream": "stdout", "time": "2026-11-03T10:00:00Z"}) + "\n"),
    ("wrapped-squid", json.dumps({"message": SQUID.split("\n")[0], "@timestamp": "2026-11-03T10:00:00Z"}) + "\n"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text"), WRAPPINGS)
def test_lines_inside_lines(kind: str, text: str) -> None:
    found, assets, _ = run(text)
    assert found == kind
    assert len(assets) == 1
    assert assets[0].evidence[0].line == (3 if kind == "client" else 1)


def test_noise_of_a_public_server_is_no_damage() -> None:
    noise = (
        '10.0.0.9 - - [03/Nov/2026:10:00:00 +0000] "\\x16\\x03\\x01" 400 150 "-" "-"\n'
        '10.0.0.9 - - [03/Nov/2026:10:00:00 +0000] "" 400 0 "-" "-"\n'
        'http 2026-11-30T22:23:00.186641Z app/lb/50dc 192.168.131.39:2817 - -1 -1 -1 400 - 0 0 "- http://www.example.com:80- -" "-" - - - "-"\n'
        'Jul 30 09:03:52 localhost haproxy[32450]: 1.2.3.4:38862 [30/Jul/2026:09:03:52.726] in~ docs/docs 0/0/1/0/2 304 168 - - ---- 6/6/0/0/0 0/0 {docs.example||} "GET /x.js HTTP/1.1"\n'
    )
    assert run(NGINX * 3 + noise)[2] == []


@pytest.mark.parametrize(("text", "kind", "expected"), MORE)
def test_more_servers(text: str, kind: str, expected: set[tuple[str, str]]) -> None:
    found, assets, notes = run(text)
    assert (found, names(assets), notes) == (kind, expected, [])


@pytest.mark.parametrize(
    "text",
    [
        "time,caller,amount,merchant,decision,score\n2026-11-01,a,3.4,x,deny,0.9\n",
        "date,description,amount,label\n2026-11-01,x,3,1\n",
        "timestamp,user,query,response\n2026-11-01T00:00:00Z,u,how do i,text\n",
        "timestamp,user,query\n2026-11-01T00:00:00Z,u,how do i\n",
        '{"timestamp":"2026-11-01T00:00:00Z","query":"refund","answer":"x"}\n',
        '{"timestamp":"2026-11-01T00:00:00Z","query":"refund"}\n',
        '{"timestamp":"2026-11-01T00:00:00Z","url":"https://api.openai.com/v1/chat/completions","status":200,"request":{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]},"response":{"choices":[]}}\n',
        json.dumps({"log": '{"messages":[{"role":"user","content":"hello there"}]}', "stream": "stdout"}) + "\n",
        '2026-03-02T08:00:00Z stdout F {"request": {"model": "m", "messages": [{"role": "user", "content": "hi"}]}, "response": {}}\n',
        '2026-03-02 08:00:00 INFO chat {"prompt": "x", "answer": "y"}\n',
        '{"level":"INFO","message":"a question that is long enough","answer":"yes","timestamp":"2026-11-01T00:00:00Z"}\n',
        '{"schemaType":"ModelInvocationLog","timestamp":"2026-11-01T00:00:00Z","operation":"Converse","modelId":"x","input":{"inputBodyJson":{"messages":[{"role":"user"}]}}}\n',
        '{"id":"1","timestamp":"2026-11-01T00:00:00Z","url":"/pay","score":0.4,"method":"card"}\n',
    ],
)
def test_conversations_and_predictions_are_left_to_their_readers(text: str) -> None:
    assert recognise("any", text.encode()) == ""


@pytest.mark.parametrize("backend", ["re2", "python"])
def test_the_scan_chooses_the_same_lines_whatever_runs_it(backend: str) -> None:
    pytest.importorskip("hyperscan", reason="no wheel for this platform")
    patterns = traffic.prefilter().patterns
    fast, other = Prefilter(patterns, "hyperscan"), Prefilter(patterns, backend)
    for text in {line for case in (*CASES, *MORE) for line in case[0].split("\n")}:
        assert bool(fast.scan(text.encode())) == bool(other.scan(text.encode())), text


@pytest.mark.parametrize(
    "seed", ["client 1#1 ", "1.1.1.1 - - [", "UDP Rcv 1 ] A (3)a", 'a="', "POST https://a ", '{"a":', "a=b "]
)
def test_a_hostile_line_is_not_slow(seed: str) -> None:
    text = (seed * 40_000)[:150_000]
    with soon():
        for kind in KINDS:
            run(text + "\nopenai.com POST /v1/chat/completions", kind)
        recognise("x", text.encode())
