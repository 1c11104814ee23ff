"""An event always fits, is never dropped, keeps what names it, and is not touched where it fits already."""

from __future__ import annotations

import json
import sys
from importlib import util
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.export.fit import LIMITS, Limit, cut, fit
from afterguard.export.formats import FORMATS, TEXTS
from afterguard.model import Alert, Entry

if "export_samples" not in sys.modules:
    _spec = util.spec_from_file_location("export_samples", Path(__file__).with_name("samples.py"))
    assert _spec and _spec.loader
    sys.modules["export_samples"] = util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["export_samples"])
samples: Any = sys.modules["export_samples"]
BIG = msgspec.structs.replace(
    samples.ALERT,
    excerpt="é" * 300_000,
    rule="=\\|\n" * 50_000,
    exchanges=tuple(f"x{n}" for n in range(5_000)),
    data_classes=tuple("d" * 900 for _ in range(500)),
    touched={f"kind{n}": n for n in range(20_000)},
)


@pytest.mark.parametrize("where", LIMITS)
@pytest.mark.parametrize("name", TEXTS)
def test_every_destination_takes_a_monstrous_alert(name: str, where: str) -> None:
    limit = LIMITS[where]
    data, was_cut = FORMATS[name].fitted(BIG, limit)
    assert len(data) <= limit.total and BIG.id.encode() in data
    # CEF and LEEF cut at the lengths of their own keys before anything else; STIX says no texts.
    assert was_cut or limit.total > 2_000_000 or name in ("cef", "leef", "stix")
    if limit.column and data.startswith(b"{"):
        assert all(len(json.dumps(one, ensure_ascii=False).encode()) <= 33_500 for one in json.loads(data).values())


def test_what_fits_is_untouched() -> None:
    for thing in (*samples.ALERTS, *samples.CASES, *samples.LINES, *samples.DEEDS, *samples.FOUNDS):
        for name in TEXTS:
            assert FORMATS[name].fitted(thing, LIMITS["wazuh"]) == (FORMATS[name].encode(thing), False)


def test_cut_text_says_so_and_where_the_whole_is() -> None:
    data, _ = FORMATS["ecs"].fitted(msgspec.structs.replace(samples.ALERT, excerpt="x" * 90_000), LIMITS["elastic"])
    shown = json.loads(data)["afterguard"]["excerpt"]
    assert len(shown) <= 32_766 and shown.endswith(f"[cut, 90000 bytes in {samples.ALERT.id}]")


@settings(max_examples=20, deadline=None)
@given(
    samples.alerts(),
    st.sampled_from([n for n in TEXTS if n != "stix"]),
    st.integers(3_000, 40_000),
    st.sampled_from([0, 900, 5_000]),
)
def test_any_alert_fits_any_limit(one: Alert, name: str, total: int, leaf: int) -> None:
    data, was_cut = FORMATS[name].fitted(one, Limit(total, leaf=leaf))
    assert len(data) <= total and one.id.encode() in data
    assert was_cut == (data != FORMATS[name].alert(one)) or was_cut


def test_long_case_and_line_fit() -> None:
    entries = tuple(Entry(samples.AT + n, samples.AT + n, "dana", "note", "n" * 4_000, f"n{n}") for n in range(400))
    case = msgspec.structs.replace(samples.CASE, timeline=entries)
    line = samples.LINES[0] | {"unmapped": {"afterguard": {"hits": [{"excerpt": "h" * 5_000}] * 300}}}
    for name in TEXTS:
        assert len(FORMATS[name].fitted(case, LIMITS["wazuh"]).data) <= 64_000
        assert len(FORMATS[name].fitted(line, LIMITS["syslog"]).data) <= 64_000


@given(st.text(), st.integers(40, 300), st.text(max_size=50))
def test_cut_is_within_its_limit_and_whole_letters(text: str, limit: int, pointer: str) -> None:
    short = cut(text, limit, pointer)
    assert len(short.encode()) <= max(limit, 64)
    assert short == text or len(text.encode("utf-8", "replace")) > 40


def test_no_limit_is_too_small_to_say_so() -> None:
    with pytest.raises(ValueError, match="fits"):
        fit(samples.ALERT, FORMATS["ocsf"].alert, Limit(100))
