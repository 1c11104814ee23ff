"""Agents of an application's own classes, workflows of a framework, and classes that only share the word."""

from __future__ import annotations

import pytest

from afterguard.code.parse import parse
from afterguard.discover import code
from afterguard.model import AssetKind, Source


def agents(text: str) -> set[str]:
    return {
        one.name for one in code.find(parse(Source("a.py", text.encode(), "python"))) if one.kind is AssetKind.agent
    }


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("from app.single import FunctionCallingAgent\nx = FunctionCallingAgent(name='writer', tools=t, system_prompt='Write.')", "writer"),
        ("from llama_index.core.workflow import Workflow\nclass ReportFlow(Workflow):\n    pass", "ReportFlow"),
        ("from llama_index.core.agent.workflow import AgentWorkflow\ndef make():\n    return AgentWorkflow.from_tools_or_functions(tools_or_functions=[t])", "make"),
    ],
)  # fmt: skip
def test_found(text: str, name: str) -> None:
    assert name in agents(text)


@pytest.mark.parametrize(
    "text",
    [
        "from crm.people import EstateAgent\nprompt_x = 1\nx = EstateAgent(name='Ann', tools=t)",
        "from prefect import Flow\nsystem_prompt = 1\nclass Nightly(Flow):\n    pass",
    ],
)
def test_not_found(text: str) -> None:
    assert not agents(text)
