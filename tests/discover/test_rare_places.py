"""Assets in places that are easily passed over: an IDE's folder, a registry of containers, nested keys, models that are text."""

from __future__ import annotations

from pathlib import Path

import pytest

from afterguard.code.parse import parse
from afterguard.discover import agent_config, code, worth_config
from afterguard.files import DEFAULT, EXCLUDED_FOLDERS, kind_of, sources
from afterguard.model import AssetKind, Source


def source(path: str, text: str) -> Source:
    data = text.encode()
    return Source(path, data, kind_of(path, data), len(data))


def test_the_folder_of_an_editor_is_read(tmp_path: Path) -> None:
    held = tmp_path / ".idea" / "mcp.json"
    held.parent.mkdir()
    held.write_text("{}")
    assert ".idea" not in EXCLUDED_FOLDERS
    assert [one.path for one in sources([tmp_path], lambda _row: None, DEFAULT)] == [".idea/mcp.json"]


def test_a_container_registry_lists_servers() -> None:
    text = 'registry:\n  github-official:\n    ref: ""\n'
    found = list(agent_config.find(parse(source(".docker/mcp/registry.yaml", text))))
    assert (AssetKind.mcp_server, 2) in [(one.kind, one.evidence[0].line) for one in found]
    other = list(agent_config.find(parse(source(".cursor/mcp.json", '{"registry": {"a": {"ref": ""}}}'))))
    assert not [one for one in other if one.kind is AssetKind.mcp_server]


def test_the_primary_model_of_an_agent_client_is_named() -> None:
    text = '{"agents": {"defaults": {"model": {\n"primary": "anthropic/claude-opus-4-5"}}}}'
    found = list(agent_config.find(parse(source(".openclaw/openclaw.json", text))))
    assert [one.evidence[0].line for one in found if one.kind is AssetKind.model] == [2]


def test_a_boosted_tree_is_a_model_though_it_is_text() -> None:
    assert worth_config.is_worth(source("risk.txt", "tree\nversion=v4\nnum_class=1\n"))
    assert not worth_config.is_worth(source("risk.txt", "tree\nof knowledge\n"))


@pytest.mark.parametrize("text", ['val m = ModelId("gpt-4-turbo")\n'])
def test_a_model_id_in_kotlin(text: str) -> None:
    head = "import com.aallam.openai.api.model.ModelId\n"
    found = list(code.find(parse(source("K.kt", head + text))))
    assert "gpt-4-turbo" in [one.name for one in found if one.kind is AssetKind.model]
