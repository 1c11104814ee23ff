"""Every finder of assets in a parsed file: one explicit list.

In: Parsed. Out: Assets, and a Coverage row where a finder failed. To add a finder: one file here, one line in FINDERS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from afterguard.code.parse import Parsed
from afterguard.discover import (
    agent_config,
    ai_config,
    artefacts,
    cdk,
    ci,
    cloudformation,
    code,
    containers,
    environment,
    flows,
    kubernetes,
    manifests,
    prompt_files,
    terraform,
    tool_formats,
)
from afterguard.files import Note
from afterguard.model import Asset, Coverage

Finder = Callable[[Parsed], Iterator[Asset]]

FINDERS: tuple[tuple[str, Finder], ...] = (
    ("agent-config", agent_config.find),
    ("ai-config", ai_config.find),
    ("artefacts", artefacts.find),
    ("cdk", cdk.find),
    ("ci", ci.find),
    ("cloudformation", cloudformation.find),
    ("code", code.find),
    ("containers", containers.find),
    ("environment", environment.find),
    ("flows", flows.find),
    ("kubernetes", kubernetes.find),
    ("manifests", manifests.find),
    ("prompt-files", prompt_files.find),
    ("terraform", terraform.find),
    ("tool-formats", tool_formats.find),
)


def find(parsed: Parsed, note: Note, keep: code.Keep | None = None) -> Iterator[Asset]:
    """Assets of one file. A finder that fails costs its own answer, never the run. For `keep` see code.find."""
    for name, finder in FINDERS:
        try:
            yield from code.find(parsed, keep) if name == "code" else finder(parsed)
        except code.Overflow as over:
            note(Coverage(parsed.source.path, "cap", str(over)))
        except Exception as error:
            note(Coverage(parsed.source.path, "unsupported", f"finder {name} failed: {type(error).__name__}"))
