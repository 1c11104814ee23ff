"""Joining assets over their evidence, and the gaps between code and traffic."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from afterguard.discover.gaps import Period, gaps
from afterguard.discover.inventory import EVIDENCE, join
from afterguard.model import Asset, AssetKind, Certainty, Edge, Evidence
from afterguard.names import is_taxonomy

DAY = Period("dns.log", "bind", 10, 0.0, 90_000.0, outward=True)


def asset(name: str, source: str = "code", kind: AssetKind = AssetKind.provider, line: int = 1, **facts: str) -> Asset:
    sure = Certainty.declared if source == "code" else Certainty.inferred
    path = {"code": "app.py", "manifest": "requirements.txt"}.get(source, "proxy.log")
    return Asset(kind, name, sure, (Evidence(path, line, name, source),), attributes=facts)


def test_one_asset_over_all_its_evidence() -> None:
    (one,) = join(
        [
            asset("OpenAI", "traffic", requests="3", first_hour="2026-11-02T10", use="application"),
            asset("openai", version="1.2", owner="x"),
            asset("openai", "traffic", line=9, requests="4", first_hour="2026-11-01T10", use="staff"),
        ]
    )
    assert (one.name, one.confidence, len(one.evidence)) == ("openai", Certainty.declared, 3)
    assert one.attributes["requests"] == "7"
    assert one.attributes["first_hour"] == "2026-11-01T10"
    assert one.attributes["use"] == "application staff"
    assert one.attributes["sources"] == "code traffic"


def test_evidence_is_capped_and_every_source_stays() -> None:
    many = [asset("openai", line=number) for number in range(1, 200)]
    (one,) = join([*many, asset("openai", "traffic")])
    assert len(one.evidence) == EVIDENCE
    assert one.attributes["evidence_total"] == "200"
    assert {place.source for place in one.evidence} == {"code", "traffic"}


def test_edges_point_at_the_joined_name() -> None:
    agent = Asset(AssetKind.agent, "a", Certainty.declared, (), (Edge("uses", AssetKind.provider, "OPENAI"),))
    joined = join([agent, asset("openai")])
    assert joined[0].edges == (Edge("uses", AssetKind.provider, "openai"),)


def test_used_but_not_in_code() -> None:
    joined = join([asset("openai"), asset("deepseek", "traffic", requests="12"), asset("openai", "traffic")])
    (found,) = gaps(joined)
    assert (found.rule, found.path, found.line, found.asset) == (
        "shadow-ai-traffic",
        "proxy.log",
        1,
        "provider:deepseek",
    )
    assert "12 times" in found.message
    assert found.fix
    assert all(is_taxonomy(one) for one in found.taxonomies)


def test_the_sentence_says_how_it_was_seen() -> None:
    def told(source: str, **facts: str) -> str:
        (found,) = gaps(join([asset("openai"), asset("xai", source, **facts)]))
        return found.message

    assert told("billing", cost="12.00", currency="USD").startswith(
        "The bills show that xai is paid for (12.00 USD), and"
    )
    assert told("audit", requests="1").startswith("The cloud's audit trail shows xai in use once, and")
    assert told("traffic", use="staff", requests="7").startswith("The logs show that people here use xai 7 times, and")
    assert gaps(join([asset("openai"), asset("aws-gpu", "billing", use="accelerator")])) == ()


def test_logs_alone_say_nothing_about_code() -> None:
    joined = join([asset("deepseek", "traffic")])
    assert gaps(joined) == ()
    assert [one.rule for one in gaps(joined, code_read=True)] == ["shadow-ai-traffic"]


def test_a_library_that_reaches_the_provider_counts_as_code() -> None:
    library = asset("langchain-openai", kind=AssetKind.framework, provider="openai")
    assert gaps(join([library, asset("openai", "traffic")])) == ()


def test_unused_needs_a_day_of_a_log_that_would_show_it() -> None:
    joined = join([asset("openai"), asset("mistral"), asset("openai", "traffic")])
    assert gaps(joined) == ()
    assert gaps(joined, [Period("d", "bind", 1, 0.0, 3600.0, outward=True)]) == ()
    assert gaps(joined, [Period("d", "access", 1, 0.0, 90_000.0)]) == ()
    (found,) = gaps(joined, [DAY])
    assert (found.rule, found.asset, found.path) == ("unused-ai-dependency", "provider:mistral", "app.py")


def test_what_a_build_server_calls_is_not_expected_in_the_log() -> None:
    build = Asset(
        AssetKind.provider,
        "anthropic",
        Certainty.declared,
        (Evidence(".github/workflows/r.yaml", 8, "x", "infrastructure"),),
    )
    assert gaps(join([build, asset("openai"), asset("openai", "traffic")]), [DAY]) == ()


def test_fingerprints_do_not_depend_on_the_place() -> None:
    first = gaps(join([asset("openai"), asset("deepseek", "traffic", line=4)]))
    second = gaps(join([asset("openai"), asset("DeepSeek", "traffic", line=99)]))
    assert first[0].fingerprint == second[0].fingerprint


ASSETS = st.builds(
    asset,
    st.sampled_from(["openai", "OpenAI", "a b", "a_b", "", "\ud800"]),
    st.sampled_from(["code", "traffic", "manifest"]),
    st.sampled_from(list(AssetKind)),
    st.integers(0, 5),
    requests=st.sampled_from(["1", "x", "10000+"]),
)


@given(st.lists(ASSETS, max_size=30), st.integers(0, 99))
def test_the_order_of_the_input_does_not_matter(assets: list[Asset], seed: int) -> None:
    joined = join(assets)
    shuffled = list(assets)
    random.Random(seed).shuffle(shuffled)
    assert join(shuffled) == joined
    gaps(joined, [DAY])


def test_a_server_of_ones_own_is_one_asset_whoever_names_it() -> None:
    """A client library calls ollama a provider, an image an inference server; a hosted API stays a provider."""
    code = Asset(AssetKind.provider, "ollama", Certainty.declared, (Evidence("a.py", 1, "import ollama"),))
    image = Asset(
        AssetKind.inference_server, "ollama", Certainty.declared, (Evidence("c.yaml", 2, "ollama", "infrastructure"),)
    )
    part = Edge("part_of", AssetKind.provider, "ollama")
    model = Asset(AssetKind.model, "llama3", Certainty.declared, (Evidence("a.py", 3, "llama3"),), (part,))
    hosted = Asset(AssetKind.provider, "openai", Certainty.declared, (Evidence("a.py", 4, "import openai"),))
    joined = {(one.kind, one.name): one for one in join([code, image, model, hosted])}
    assert len(joined[AssetKind.inference_server, "ollama"].evidence) == 2
    assert (AssetKind.provider, "ollama") not in joined and (AssetKind.provider, "openai") in joined
    assert joined[AssetKind.model, "llama3"].edges == (Edge("part_of", AssetKind.inference_server, "ollama"),)


def test_weights_named_in_code_are_the_file_that_lies_here() -> None:
    """Only where one file ends so: with two, nobody knows which is meant."""
    code = Asset(AssetKind.model_artifact, "fraud.pkl", Certainty.declared, (Evidence("serve.py", 3, "load"),))
    route = Asset(
        AssetKind.ai_endpoint,
        "POST /score",
        Certainty.declared,
        (Evidence("serve.py", 9, "post"),),
        (Edge("calls", AssetKind.model_artifact, "fraud.pkl"),),
    )
    files = [
        Asset(AssetKind.model_artifact, path, Certainty.declared, (Evidence(path, 0, "pickle", "artefact"),))
        for path in ("a/fraud.pkl", "b/fraud.pkl")
    ]
    one = {each.name: each for each in join([code, route, files[0]])}
    assert set(one) == {"POST /score", "a/fraud.pkl"} and len(one["a/fraud.pkl"].evidence) == 2
    assert one["POST /score"].edges[0].name == "a/fraud.pkl"
    two = {each.name for each in join([code, route, *files])}
    assert two == {"POST /score", "fraud.pkl", "a/fraud.pkl", "b/fraud.pkl"}
