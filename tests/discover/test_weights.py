"""Model files named by address, whole or put together, and addresses that are no models."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterguard.code.parse import parse
from afterguard.discover import code
from afterguard.model import AssetKind, Source


def names(text: str, kind: str = "python") -> set[str]:
    parsed = parse(
        Source(f"a.{kind[:2]}", ("import onnxruntime\n" if kind == "python" else "").encode() + text.encode(), kind)
    )
    return {one.name for one in code.find(parsed) if one.kind is AssetKind.model_artifact}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('URL = "https://example.org/x/releases/download/v1/face_weights.h5"', "face_weights.h5"),
        ('URL = "https://example.org/models/raw/main/yunet_2023mar.onnx"', "yunet_2023mar.onnx"),
        ('get("http://example.org/files/landmark_model.dat.bz2")', "landmark_model.dat"),
        ('BASE = "https://example.org/models"\nURL = f"{BASE}/v2/whisper_tiny.pte"', "whisper_tiny.pte"),
        ('URL = "https://example.org/org/repo/resolve/main/model.safetensors"', "repo/resolve/main/model.safetensors"),
    ],
)
def test_weights_by_address(text: str, name: str) -> None:
    assert name in names(text)


@pytest.mark.parametrize(
    "text",
    [
        'URL = "https://www.example.pt"',
        'URL = "https://example.org/measurements/day1.dat"',
        'URL = "https://example.org/models/readme.md"',
        'def f(name):\n    return f"{name}/whisper_tiny.pte"',
    ],
)
def test_other_addresses_are_none(text: str) -> None:
    assert not names(text)


def test_template_literals_of_scripts_are_followed() -> None:
    text = "const BASE = `https://example.org/org/repo`;\nconst llm = { path: `${BASE}-x/${TAG}/llama_1b.pte` };"
    assert names(text, "typescript") == {"llama_1b.pte"}


@given(st.text(max_size=80))
def test_any_text_is_survived(text: str) -> None:
    names(f"URL = {('https://example.org/' + text)!r}\n")
