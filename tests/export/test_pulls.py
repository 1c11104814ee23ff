"""SIEMs that are asked what was said of our alerts.

Elastic: against an independent server of the same API (osmem). Splunk and Sentinel: against protocol peers, small servers that answer as the vendor's documentation says. Not proven live.
"""

from __future__ import annotations

import json
import re
import ssl
import sys
import time
from collections.abc import Iterator
from importlib import util
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from afterguard import net
from afterguard.cli.run import run
from afterguard.errors import Unreachable, UsageError
from afterguard.export.ecs import stamp
from afterguard.export.exporter import Exporter
from afterguard.export.pulls import Pull
from afterguard.export.settings import parse
from afterguard.jobs import feedback as job
from afterguard.store import alerts as stored
from afterguard.store.database import Store, open_store
from afterguard.watch.triage import Disposition

from .peer import Answer, Peer, peer
from .servers_here import certificate, opensearch

if "export_samples" not in sys.modules:
    _spec = util.spec_from_file_location("export_samples", Path(__file__).with_name("samples.py"))
    assert _spec and _spec.loader
    sys.modules["export_samples"] = util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["export_samples"])
samples: Any = sys.modules["export_samples"]
NOW = samples.AT + 3_600


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOC_SECRET", "hunter2hunter2")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "store.db") as one:
        stored.keep(one.connection, [sample(n) for n in range(9)])
        yield one


def sample(n: int) -> Any:
    return msgspec.structs.replace(samples.ALERT, id=f"al-{n:032x}", fingerprint=f"f{n}", tenant="default")


def settings(text: str) -> Pull:
    return parse(f"format: afterguard.sinks/1\npulls:\n  - {{name: it, {text}}}").pulls[0]


def pulled(told: Pull, store: Store, folder: Path, most: int = 50) -> tuple[job.Outcome, bool]:
    one = job.Feedback(store, "default", lambda: NOW)
    is_done = job.pull(told, folder / "cursor.json", one, most)
    return one.outcome, is_done


def dispositions(store: Store) -> dict[str, str]:
    return {one.fingerprint: one.what for one in stored.said(store.connection, "default", "disposition", Disposition)}


# -- Elastic


def kibana(n: int, at: float, **said: Any) -> dict[str, Any]:
    return {
        "event": {"id": f"al-{n:032x}.3", "kind": "signal"}, "kibana.alert.uuid": f"u{n:03}", "kibana.alert.workflow_status": "closed",
        "kibana.alert.workflow_reason": "false_positive", "kibana.alert.workflow_status_updated_at": stamp(at), "kibana.alert.workflow_user": "ana",
    } | said  # fmt: skip


def test_elastic_page_by_page_each_verdict_once(tmp_path: Path, store: Store) -> None:
    pytest.importorskip("osmem_server")

    def ask(method: str, path: str, body: Any) -> None:
        head = {"content-type": "application/json"}
        assert (
            net.ask(method, url + path, allow={"127.0.0.1"}, headers=head, body=json.dumps(body).encode()).status < 300
        )

    with opensearch(tmp_path) as port:
        url = f"http://127.0.0.1:{port}"
        types = {"kibana.alert.workflow_status_updated_at": {"type": "date"}, "kibana.alert.uuid": {"type": "keyword"}}
        ask("PUT", "/.alerts-security.alerts-default", {"mappings": {"properties": types}})

        def index(n: int, document: dict[str, Any]) -> None:
            ask("PUT", f"/.alerts-security.alerts-default/_doc/u{n}?refresh=true", document)

        for n in range(5):  # all of one moment: a bulk action
            index(n, kibana(n, NOW - 900))
        index(5, kibana(5, NOW - 800, **{"kibana.alert.workflow_status": "open", "kibana.alert.workflow_reason": None}))
        index(6, kibana(6, NOW - 90 * 86_400))  # before the first pull looks back
        told = settings(f"kind: elastic, url: '{url}', size: 2")
        out, is_done = pulled(told, store, tmp_path, most=2)
        assert not is_done and out.applied == {"false_positive": 4}
        out, is_done = pulled(told, store, tmp_path)
        assert is_done and (out.applied, out.documents, out.silent) == ({"false_positive": 1}, 2, 1), (
            "it goes on after the last one"
        )
        index(0, kibana(0, NOW - 60, **{"kibana.alert.workflow_reason": "true_positive"}))
        index(7, kibana(7, NOW - 1_000))  # what the search did not show yet then
        out, is_done = pulled(told, store, tmp_path)
        assert is_done and out.applied == {"true_positive": 1, "false_positive": 1}
        assert pulled(told, store, tmp_path)[0].applied == {}
        assert dispositions(store) == {"f0": "true_positive"} | {f"f{n}": "false_positive" for n in (1, 2, 3, 4, 7)}
        with pytest.raises(Unreachable, match=r"no such index|not_found|404"):
            pulled(settings(f"kind: elastic, url: '{url}', index: missing"), store, tmp_path / "other")


def test_from_the_sink_to_the_pull(tmp_path: Path, store: Store) -> None:
    """An alert goes out by the Elastic sink, a rule's alert is made of the document that lies there, is judged, and is pulled. The server is osmem; the rule is this test, which copies fields as Elastic's alert schema says."""
    pytest.importorskip("osmem_server")
    with opensearch(tmp_path) as port:
        url = f"http://127.0.0.1:{port}"

        def ask(method: str, path: str, body: Any = None) -> Any:
            head = {"content-type": "application/json"}
            data = json.dumps(body).encode() if body is not None else None
            reply = net.ask(method, url + path, allow={"127.0.0.1"}, headers=head, body=data)
            assert reply.status < 300, reply.body
            return json.loads(reply.body)

        text = f"format: afterguard.sinks/1\nsinks:\n  - {{name: es, kind: elastic, url: '{url}', index: soc, encode: ecs, lanes: [alert]}}"
        with Exporter(parse(text).sinks, tmp_path / "spool") as out:
            assert out.put("alert", sample(4)) and out.drain(30)
        ask("POST", "/soc/_refresh")
        (hit,) = ask("POST", "/soc/_search", {"query": {"match_all": {}}})["hits"]["hits"]
        types = {"kibana.alert.workflow_status_updated_at": {"type": "date"}, "kibana.alert.uuid": {"type": "keyword"}}
        ask("PUT", "/.alerts-security.alerts-default", {"mappings": {"properties": types}})
        source = hit["_source"]
        raised = source | kibana(4, NOW - 60) | {"event": source["event"] | {"kind": "signal"}, "kibana.alert.original_event.id": source["event"]["id"], "kibana.alert.ancestors": [{"id": hit["_id"], "index": "soc", "depth": 0}]}  # fmt: skip
        ask("PUT", "/.alerts-security.alerts-default/_doc/a1?refresh=true", raised)
        outcome, is_done = pulled(settings(f"kind: elastic, url: '{url}'"), store, tmp_path)
        assert is_done and outcome.applied == {"false_positive": 1} and dispositions(store) == {"f4": "false_positive"}
        (row,) = stored.said(store.connection, "default", "disposition", Disposition)
        assert (row.revision, row.means, row.who) == (3, ("invoice-4711.html", "send_mail"), "elastic:ana")


@pytest.mark.parametrize("part", [{"timed_out": True}, {"_shards": {"total": 3, "failed": 1}}])
def test_elastic_that_answers_in_part(part: dict[str, Any], tmp_path: Path, store: Store) -> None:
    answer = {"hits": {"hits": [{"sort": [1, "u"], "_source": kibana(0, NOW - 900)}]}} | part
    with peer(lambda *_: (200, {}, json.dumps(answer).encode())) as here:
        with pytest.raises(Unreachable, match="would be skipped"):
            pulled(settings(f"kind: elastic, url: '{here.url}'"), store, tmp_path)
        assert not dispositions(store) and not (tmp_path / "cursor.json").exists()


@pytest.mark.parametrize(
    "answer",
    [b"{", b"[]", b'{"hits": 7}', b'{"hits": {"hits": [' + b"[" * 5_000 + b"]}}", b'{"hits": {"hits": [{"sort": ["x"]}]}}', b'{"hits":{"hits":[7]}}'],
)  # fmt: skip
def test_elastic_that_answers_nonsense(answer: bytes, tmp_path: Path, store: Store) -> None:
    with peer(lambda *_: (200, {}, answer)) as here:
        told = settings(f"kind: elastic, url: '{here.url}', api_key: {{env: SOC_SECRET}}")
        try:
            out, is_done = pulled(told, store, tmp_path)
            assert is_done and out.applied == {}
        except Unreachable as error:
            assert error.slug == "no-feedback" and "hunter2" not in str(error)
        assert here.seen[0][1]["authorization"] == "ApiKey hunter2hunter2"


# -- Splunk


class SearchHead:
    """A protocol peer of `search/v2/jobs/export`: it reads only what our search says of times, order and number."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows

    def __call__(self, here: Peer, path: str, headers: dict[str, str], body: bytes) -> Answer:
        assert path == "/servicesNS/nobody/SplunkEnterpriseSecuritySuite/search/v2/jobs/export"
        assert headers["authorization"] == "Bearer hunter2hunter2"
        form = {name: value[0] for name, value in parse_qs(body.decode()).items()}
        assert form["output_mode"] == "json" and form["search"].startswith("search `notable` |")
        found = re.search(r"\| where review_time(>=?)([0-9.]+)(?: OR \(review_time=([0-9.]+) AND event_id>\"([^\"]*)\"\))? \| sort 0 num\(review_time\) str\(event_id\) \| head ([0-9]+) \| table ", form["search"])  # fmt: skip
        assert found, form["search"]
        sign, begin, same, key, count = found.groups()
        pages = sorted(
            (
                row
                for row in self.rows
                if row["review_time"] > float(begin)
                or (sign == ">=" and row["review_time"] == float(begin))
                or (same and row["review_time"] == float(same) and row["event_id"] > key)
            ),
            key=lambda row: (row["review_time"], row["event_id"]),
        )[: int(count)]
        lines = [{"preview": True, "result": row} for row in pages[:1]]
        lines += [{"preview": False, "offset": n, "result": {**row, "review_time": f"{row['review_time']:.6f}"}} for n, row in enumerate(pages)]  # fmt: skip
        return 200, {}, b"\n".join(json.dumps(one).encode() for one in lines)


def finding(n: int, at: float, label: str = "False Positive - Inaccurate Data") -> dict[str, Any]:
    return {"event_id": f"G{n}@@notable@@{n:03}", "review_time": round(at, 3), "reviewer": "ana", "disposition": "disposition:4", "disposition_label": label, "id": f"al-{n:032x}", "revision": "3"}  # fmt: skip


def test_splunk_page_by_page_each_verdict_once(tmp_path: Path, store: Store) -> None:
    head = SearchHead([finding(n, NOW - 900) for n in range(5)] + [finding(6, NOW - 90 * 86_400)])
    with peer(head) as here:
        told = settings(f"kind: splunk, url: '{here.url}', token: {{env: SOC_SECRET}}, size: 2")
        out, is_done = pulled(told, store, tmp_path, most=1)
        assert not is_done and out.applied == {"false_positive": 2}
        out, is_done = pulled(told, store, tmp_path)
        assert is_done and out.applied == {"false_positive": 3} and out.known == 0, "many reviewed at one moment"
        head.rows[0] = finding(0, NOW - 60, "True Positive - Suspicious Activity")
        head.rows.append(finding(7, NOW - 1_000))
        out, is_done = pulled(told, store, tmp_path)
        assert is_done and out.applied == {"true_positive": 1, "false_positive": 1}
        assert dispositions(store)["f0"] == "true_positive" and len(dispositions(store)) == 6


def test_splunk_that_says_no(tmp_path: Path, store: Store) -> None:
    said = {"messages": [{"type": "FATAL", "text": "Error in 'SearchParser': The search specifies a macro 'notable' that cannot be found."}]}  # fmt: skip
    rows = [finding(n, NOW - 900) | {"event_id": '"] | delete'} for n in range(2)]
    answers: list[Answer] = [
        (200, {}, json.dumps(said).encode()), (401, {}, b"call not properly authenticated"), (429, {"retry-after": "77"}, b""), (400, {}, b"Unknown search command"),
        (200, {}, b"\n".join(json.dumps({"preview": False, "result": one}).encode() for one in rows)),
    ]  # fmt: skip
    words = ["macro 'notable'", "401", "429", "400 Unknown", "no event_id"]
    with peer(lambda *_: answers[0]) as here:
        told = settings(f"kind: splunk, url: '{here.url}', token: {{env: SOC_SECRET}}, size: 2")
        for word in words:
            with pytest.raises(Unreachable, match=re.escape(word)) as caught:
                pulled(told, store, tmp_path)
            assert ("77 seconds" in caught.value.hint) == (word == "429") and "hunter2" not in str(caught.value)
            answers.pop(0)
    assert not (tmp_path / "cursor.json").exists() and dispositions(store) == {}


# -- Sentinel


class Workspace:
    """A protocol peer of Incidents_List, Incidents_ListAlerts and of Entra ID's token endpoint."""

    def __init__(self, incidents: list[dict[str, Any]]) -> None:
        self.incidents = incidents
        self.tokens = 0
        self.elsewhere = ""
        self.forgets = False

    def __call__(self, here: Peer, path: str, headers: dict[str, str], body: bytes) -> Answer:
        parts = urlsplit(path)
        if parts.path == "/tenant/oauth2/v2.0/token":
            form = parse_qs(body.decode())
            assert form["client_secret"] == ["hunter2hunter2"] and form["scope"] == ["https://management.azure.com/.default"]  # fmt: skip
            self.tokens += 1
            return 200, {}, json.dumps({"access_token": f"t{self.tokens}", "expires_in": 3599}).encode()
        assert headers["authorization"] == f"Bearer t{self.tokens}"
        base = "/subscriptions/sub/resourceGroups/rg/providers/Microsoft.OperationalInsights/workspaces/law/providers/Microsoft.SecurityInsights/incidents"  # fmt: skip
        assert parts.path.startswith(base)
        asked = parse_qs(parts.query)
        assert asked["api-version"] == ["2025-09-01"]
        if parts.path.endswith("/alerts"):
            n = int(parts.path.split("/")[-2].removeprefix("inc-"))
            more = {"Custom Details": json.dumps({"AfterguardId": [f"al-{n:032x}.3"]})}
            return 200, {}, json.dumps({"value": [{"name": "a", "properties": {"additionalData": more}}]}).encode()
        begin = asked["$filter"][0].removeprefix("properties/lastModifiedTimeUtc ge ").partition(" ")[0]
        assert asked["$orderby"] == ["properties/lastModifiedTimeUtc asc"]
        found = sorted((one for one in self.incidents if one["properties"]["lastModifiedTimeUtc"] >= begin), key=lambda one: one["properties"]["lastModifiedTimeUtc"])  # fmt: skip
        at, size = int(asked.get("$skipToken", ["0"])[0]), int(asked["$top"][0])
        if at and self.forgets:
            return 400, {}, b"the skip token is not known any more"
        out: dict[str, Any] = {"value": found[at : at + size]}
        if at + size < len(found):
            out["nextLink"] = f"{self.elsewhere or here.url}{path.partition('&$skipToken')[0]}&$skipToken={at + size}"
        return 200, {}, json.dumps(out).encode()


def incident(n: int, at: float, said: str | None = "FalsePositive") -> dict[str, Any]:
    more = (
        {"classification": said, "status": "Closed", "owner": {"userPrincipalName": "ana@soc.example"}}
        if said
        else {"status": "New"}
    )
    return {"name": f"inc-{n}", "properties": {"incidentNumber": n, "lastModifiedTimeUtc": stamp(at), **more}}


def sentinel(here: Peer, more: str = "") -> Pull:
    return settings(f"kind: sentinel, url: '{here.url}', authority: '{here.url}', subscription: sub, group: rg, workspace: law, tenant: tenant, client: c, secret: {{env: SOC_SECRET}}, size: 2{more}")  # fmt: skip


def test_sentinel_page_by_page_each_verdict_once(tmp_path: Path, store: Store) -> None:
    space = Workspace([incident(n, NOW - 900 + n) for n in range(4)] + [incident(5, NOW - 700, None), incident(6, NOW - 90 * 86_400)])  # fmt: skip
    with peer(space) as here:
        out, is_done = pulled(sentinel(here), store, tmp_path, most=1)
        assert not is_done and out.applied == {"false_positive": 2}
        out, is_done = pulled(sentinel(here), store, tmp_path)
        assert is_done and (out.applied, out.silent, out.known) == ({"false_positive": 2}, 1, 0)
        assert sum(path.partition("?")[0].endswith("/alerts") for path, _, _ in here.seen) == 4, (
            "only of those that somebody touched"
        )
        space.incidents[0] = incident(0, NOW - 60, "TruePositive")
        out, is_done = pulled(sentinel(here), store, tmp_path)
        assert is_done and out.applied == {"true_positive": 1}
        row = stored.said(store.connection, "default", "disposition", Disposition)[-1]
        assert (row.who, row.what, row.ref, row.revision) == ("sentinel:ana@soc.example", "true_positive", "inc-0", 3)
        space.incidents[1] = incident(1, NOW - 50, None)
        space.incidents[1]["properties"]["status"] = "Active"
        out, is_done = pulled(sentinel(here, ", where: \"contains(properties/title, 'x')\""), store, tmp_path)
        assert is_done and out.withdrawn == 1, "opened again"
        assert any("contains" in path for path, _, _ in here.seen)


def test_sentinel_that_forgot_where_the_next_page_was(tmp_path: Path, store: Store) -> None:
    space = Workspace([incident(n, NOW - 9_000 + n * 1_000) for n in range(4)])
    with peer(space) as here:
        assert pulled(sentinel(here), store, tmp_path, most=1)[1] is False
        space.forgets = True
        assert pulled(sentinel(here), store, tmp_path)[1] and len(dispositions(store)) == 4, "by time it goes on"


def test_sentinel_sends_its_token_to_nobody_else(tmp_path: Path, store: Store) -> None:
    space = Workspace([incident(n, NOW - 900 + n) for n in range(4)])
    with peer(space) as here, peer(lambda *_: (200, {}, b"{}")) as thief:
        for elsewhere in (thief.url, f"{here.url}@127.0.0.1", "file://", "http://localhost"):
            space.elsewhere = elsewhere
            (tmp_path / "cursor.json").unlink(missing_ok=True)
            with pytest.raises(Unreachable, match="another host"):
                pulled(sentinel(here), store, tmp_path)
        assert thief.seen == []


def heavy(one: dict[str, Any]) -> dict[str, Any]:
    """The same with a comment of 3 MiB: two of them fit into an answer, three do not."""
    return one | {"comment": "x" * (3 << 20)}


def test_a_page_that_is_too_large_says_what_to_set_and_nothing_is_skipped(tmp_path: Path, store: Store) -> None:
    head = SearchHead([heavy(finding(n, NOW - 900 + n)) for n in range(4)])
    with peer(head) as here:
        told = settings(f"kind: splunk, url: '{here.url}', token: {{env: SOC_SECRET}}, size: 4")
        with pytest.raises(Unreachable, match="more than 8 MiB") as caught:
            pulled(told, store, tmp_path)
        assert "`size: 1`" in caught.value.hint and "(it is 4)" in caught.value.hint
        assert not dispositions(store) and not (tmp_path / "cursor.json").exists()
        out, is_done = pulled(msgspec.structs.replace(told, size=1), store, tmp_path)
        assert is_done and out.applied == {"false_positive": 4}
        head.rows.append(finding(5, NOW - 60) | {"comment": "x" * (9 << 20)})
        with pytest.raises(Unreachable, match="more than 8 MiB") as caught:
            pulled(msgspec.structs.replace(told, size=1), store, tmp_path)
        assert "watch feedback FILE" in caught.value.hint and len(dispositions(store)) == 4


def test_a_smaller_size_holds_where_the_server_names_the_next_page(tmp_path: Path, store: Store) -> None:
    space = Workspace([incident(n, NOW - 9_000 + n * 1_000) for n in range(8)])
    space.incidents[4:] = [heavy(one) for one in space.incidents[4:]]
    with peer(space) as here:
        told = msgspec.structs.replace(sentinel(here), size=4)
        with pytest.raises(Unreachable, match="more than 8 MiB") as caught:
            pulled(told, store, tmp_path)
        assert "`size: 1`" in caught.value.hint and len(dispositions(store)) == 4
        out, is_done = pulled(msgspec.structs.replace(told, size=1), store, tmp_path)
        assert is_done and out.applied == {"false_positive": 4} and len(dispositions(store)) == 8


def test_a_pull_by_tls_at_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    cert, key = certificate(tmp_path)
    with peer(SearchHead([finding(n, time.time() - 60) for n in range(3)])) as here:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        here.server.socket = context.wrap_socket(here.server.socket, server_side=True)
        sinks = tmp_path / "sinks.yaml"
        sinks.write_text(
            f"format: afterguard.sinks/1\nhosts: [127.0.0.1]\npulls:\n  - {{name: es, kind: splunk, url: 'https://127.0.0.1:{here.server.server_port}', ca_file: {cert}, token: {{env: SOC_SECRET}}}}\n"
        )
        assert run(["watch", "feedback", "--pull", "es", "--sinks", str(sinks)]) == 0
        assert "3 of alerts that this store never had" in capsys.readouterr().err
        sinks.write_text(sinks.read_text().replace(f", ca_file: {cert}", ""))
        assert run(["watch", "feedback", "--pull", "es", "--sinks", str(sinks)]) == 4
        assert "certificate" in capsys.readouterr().err
        for which in ("ca_file", "cert_file"):
            for file in (tmp_path / "none.pem", sinks):
                sinks.write_text(f"format: afterguard.sinks/1\npulls: [{{name: es, kind: splunk, url: 'https://127.0.0.1:{here.server.server_port}', {which}: {file}, token: {{env: SOC_SECRET}}}}]\n")  # fmt: skip
                assert run(["watch", "feedback", "--pull", "es", "--sinks", str(sinks)]) == 4
                assert f"{file} holds no certificate that can be used" in capsys.readouterr().err


KINDS = (
    "kind: elastic, url: '{url}'", "kind: splunk, url: '{url}', token: {{env: SOC_SECRET}}",
    "kind: sentinel, url: '{url}', authority: '{url}', subscription: s, group: g, workspace: w, tenant: t, client: c, secret: {{env: SOC_SECRET}}",
)  # fmt: skip
leaf = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9)
    | st.sampled_from(["Closed", "FalsePositive", 1e300, -1, "9999-12-31T23:59:59Z", f"al-{0:032x}"])
)  # fmt: skip
NAMES = ("hits", "sort", "_source", "value", "nextLink", "name", "properties", "classification", "status", "access_token", "expires_in", "result", "preview", "review_time", "event_id", "messages", "text")  # fmt: skip
tree = st.recursive(leaf, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5), max_leaves=15)  # fmt: skip
shapes = tree | st.builds(lambda rows, at: {"hits": {"hits": [{"sort": [at, "k"], "_source": one} for one in rows]}}, st.lists(tree, max_size=3), leaf)  # fmt: skip
answers = st.binary(max_size=50) | st.lists(shapes, min_size=1, max_size=3).map(lambda rows: b"\n".join(msgspec.json.encode(one) for one in rows))  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_any_answer_is_a_page_or_said(kind: str, tmp_path: Path, store: Store) -> None:
    said: list[bytes] = []
    token = b'{"access_token": "t", "expires_in": 3599}'

    def answer(here: Peer, path: str, headers: dict[str, str], body: bytes) -> Answer:
        return 200, {}, token if path.endswith("/token") else said[0]

    with peer(answer) as here:
        told = settings(kind.format(url=here.url) + ", size: 1")

        @given(answers)
        @hypothesis_settings(max_examples=30, deadline=None)
        def any_answer(data: bytes) -> None:
            said[:] = [data]
            try:
                pulled(told, store, tmp_path, most=2)
            except Unreachable as error:
                assert error.slug == "no-feedback"

        any_answer()


def test_settings_of_pulls() -> None:
    head = "format: afterguard.sinks/1\n"
    for text, said in (
        ("pulls: []", "`pulls` needs a list"),
        ("pulls:\n  - {name: a, kind: splnk, url: 'https://x/'}", "did you mean 'splunk'"),
        ("pulls:\n  - {name: a, kind: splunk, url: 'https://x/', token: hunter2}", "does not stand here"),
        ("pulls:\n  - {name: a, kind: elastic, url: 'https://x/', indx: y}", "did you mean 'index'"),
        ("pulls:\n  - {name: a, kind: elastic, url: 'https://x/'}\n  - {name: a, kind: elastic, url: 'https://x/'}", "two pulls are called a"),
        ("hosts: [b.example]\npulls:\n  - {name: a, kind: elastic, url: 'https://a.example/'}", "not among `hosts`"),
        ("pulls:\n  - {name: a, kind: sentinel, subscription: 's/../x', group: g, workspace: w, tenant: t, client: c, secret: {env: X}}", "subscription"),
        ("hosts: []", "`sinks` needs"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=r"sinks.yaml:[0-9]+: ") as caught:
            parse(head + text)
        assert said in str(caught.value) and "hunter2" not in str(caught.value)
    assert parse(head + "pulls:\n  - {name: a, kind: elastic, url: 'https://x.example/'}").sinks == ()
