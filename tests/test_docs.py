"""Docs that can be wrong are checked against the code."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_reference", DOCS / "build_reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["cli.md", "settings.md", "rules.md", "metrics.md", "techniques.md", "playbooks.md"])
def test_generated_pages_are_fresh(page: str) -> None:
    fresh = builder().PAGES[page]()
    assert (DOCS / "reference" / page).read_text(encoding="utf-8") == fresh, "run python docs/build_reference.py"


def test_every_message_has_its_place_in_the_docs() -> None:
    used = set()
    for path in (ROOT / "src").rglob("*.py"):
        used |= set(re.findall(r'slug="([a-z-]+)"', path.read_text(encoding="utf-8")))
    documented = set(
        re.findall(r"^## ([a-z-]+)$", (DOCS / "reference" / "messages.md").read_text(encoding="utf-8"), re.M)
    )
    assert used - documented == set()
    assert documented - used - {"internal-error"} == set()


def test_every_setting_says_what_it_means() -> None:
    for line in builder().settings().splitlines():
        if line.startswith("| `"):
            assert len(line.rstrip(" |").rsplit("|", 1)[-1].strip()) > 8, line


def test_links_between_pages_lead_somewhere() -> None:
    wrong = []
    for path in [*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]:
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
            if not (path.parent / target).exists():
                wrong.append(f"{path.relative_to(ROOT)} -> {target}")
    assert not wrong, "\n".join(wrong)
