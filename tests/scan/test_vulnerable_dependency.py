"""What is said of a version, by how well its advisories are known."""

from __future__ import annotations

import datetime

from afterguard import catalog
from afterguard.code.parse import Parsed, parse
from afterguard.model import Confidence, Finding, Severity, Source
from afterguard.scan.check import Context
from afterguard.scan.vulnerable_dependency import Advisory, advisories, check, judged

SURE = Advisory("CVE-1", ("<2.0",), "2.0", Severity.medium, "a file is read")
UNSURE = Advisory("CVE-2", ("<3.0",), "3.0", Severity.critical, "code is run", checked=False)


def requirements(text: str) -> Parsed:
    data = text.encode()
    return parse(Source("requirements.txt", data, "manifest", len(data)))


def found(version: str, *known: Advisory) -> list[Finding]:
    return list(judged(requirements(f"thing=={version}\n"), Context(), 1, "thing", version, known))


def test_an_unverified_range_alone_gives_low_confidence_and_says_so() -> None:
    (one,) = found("2.5", SURE, UNSURE)
    assert one.confidence is Confidence.low
    assert "CVE-2" in one.message and "range not verified" in one.message


def test_a_verified_range_gives_severity_confidence_and_fix() -> None:
    (one,) = found("1.0", UNSURE, SURE)
    assert (one.confidence, one.severity) == (Confidence.high, Severity.medium)
    assert one.message.index("CVE-1") < one.message.index("CVE-2")
    assert one.message.count("range not verified") == 1
    assert "2.0" in one.fix and "3.0" not in one.fix


def test_a_fixed_version_is_silent() -> None:
    assert found("3.0", SURE, UNSURE) == []


def test_the_real_catalogue_is_read() -> None:
    (one,) = check(requirements("mlflow==2.9.0\n"), Context())
    assert one.confidence is Confidence.high
    assert "CVE-2023-6909" in one.message and "range not verified" not in one.message


def test_both_affected_branches_of_a_release_line() -> None:
    known = advisories()["npm", "n8n"]
    assert [one.id for one in known if found("1.121.0", one)] == ["CVE-2025-68613"]
    assert not [one.id for one in known if found("1.121.1", one)]


def test_every_row_names_when_and_with_what_it_was_compared() -> None:
    for row in catalog.load("rules/advisories")["advisories"]:
        if row["checked"] == "none":
            assert row["source"] == "", row["id"]
        else:
            assert isinstance(row["checked"], datetime.date), row["id"]
            assert row["source"] and "://" not in row["source"], row["id"]
