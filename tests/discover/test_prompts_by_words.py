"""Prompts known by what they say or by an unmistakable name, in files without any AI library."""

from __future__ import annotations

import pytest

from afterguard.code.parse import parse
from afterguard.discover import code
from afterguard.model import AssetKind, Certainty, Source

LONG = "Read the contract below and list every clause that the guideline speaks of, with its number and one short reason. Contract: {text}"


def prompts(text: str) -> set[str]:
    return {
        one.name for one in code.find(parse(Source("a.py", text.encode(), "python"))) if one.kind is AssetKind.prompt
    }


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (
            'ROLE = "You are a programming and system administration assistant. Be brief and never run anything."',
            "ROLE",
        ),
        (f'CONTRACT_MATCH_PROMPT = "{LONG}"', "CONTRACT_MATCH_PROMPT"),
        ('make(name="r", system_prompt=dedent("""You research what is asked and cite what you used."""))', ""),
    ],
)
def test_found(text: str, name: str) -> None:
    found = prompts(text)
    assert found and (not name or found == {name})


@pytest.mark.parametrize(
    "text",
    [
        'PROMPT = "Enter the name of the file to read: "',
        'MESSAGE = "You are not allowed to see this page. Ask the owner of the folder for the right to read it."',
        'shell_prompt = "user@host:~$ "',
        'LICENSE = "You are free to copy, change and hand on this work as long as you name the people who made it."',
    ],
)
def test_not_found(text: str) -> None:
    assert not prompts(text)


def test_a_model_in_a_table_of_defaults_is_read_through_the_environment() -> None:
    text = 'import os\nDEFAULTS = {"OPENAI_X": "1", "DEFAULT_MODEL": os.getenv("DEFAULT_MODEL", "gpt-4o-mini")}'
    found = [one for one in code.find(parse(Source("a.py", text.encode(), "python"))) if one.kind is AssetKind.model]
    assert [one.name for one in found] == ["gpt-4o-mini"]


def test_a_model_handed_on_as_an_object_is_not_reported_as_unknown() -> None:
    text = "from llama_index.core import Settings\nfrom llama_index.core.memory import ChatMemoryBuffer\nm = ChatMemoryBuffer.from_defaults(llm=Settings.llm)"
    found = list(code.find(parse(Source("a.py", text.encode(), "python"))))
    assert not [one for one in found if one.confidence is Certainty.unresolved]
