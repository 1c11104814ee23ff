"""CODEOWNERS as GitHub and GitLab read it, and the reflog as a fallback."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from soon import soon

from afterguard.discover.owners import match, owners_of, parse

GITHUB = """
*                @acme/all
*.js             @js-owner #this is inline
/build/logs/     @doctocat
docs/*           docs@example.com
apps/            @octocat
/scripts/        @doctocat @octocat
**/logs          @logs
/apps/github
src/**/*.py      @py
"""


@pytest.mark.parametrize(
    ("path", "owners"),
    [
        ("README.md", ("@acme/all",)),
        ("deep/er/x.js", ("@js-owner",)),
        ("build/logs/a/b.txt", ("@logs",)),
        ("docs/a.md", ("docs@example.com",)),
        ("docs/build/a.md", ("@acme/all",)),
        ("x/apps/y", ("@octocat",)),
        ("apps/github/z", ()),
        ("scripts/a.sh", ("@doctocat", "@octocat")),
        ("src/x.py", ("@py",)),
        ("src/a/b/x.py", ("@py",)),
    ],
)
def test_the_last_match_wins(path: str, owners: tuple[str, ...]) -> None:
    assert match(parse(GITHUB), path) == owners


def test_gitlab_sections_have_defaults_and_stand_beside_each_other() -> None:
    rules = parse("[Docs][2] @writers\ndocs/\nREADME.md @lead\n^[Code]\n* @dev\n!generated/\n")
    assert match(rules, "docs/a") == ("@writers", "@dev")
    assert match(rules, "README.md") == ("@lead", "@dev")
    assert match(rules, "generated/x") == ()


def test_the_reflog_names_whom_no_rule_names(tmp_path: Path) -> None:
    logs = tmp_path / ".git" / "logs"
    logs.mkdir(parents=True)
    zero, one = "0" * 40, "1" * 40
    lines = [
        f"{zero} {one} Ada Byron <ada@example.com> 1700000000 +0000\tcommit: a",
        f"{zero} {one} Ada Byron <ada@example.com> 1700000000 +0000\tcommit: b",
        f"{zero} {one} renovate[bot] <r@example.com> 1700000000 +0000\tcommit: c",
        f"{zero} {one} renovate[bot] <r@example.com> 1700000000 +0000\tcommit: c",
        f"{zero} {one} renovate[bot] <r@example.com> 1700000000 +0000\tcommit: c",
        f"{zero} {one} Bo <bo@example.com> 1700000000 +0000\tclone: from x",
    ]
    (logs / "HEAD").write_text("\n".join(lines))
    owner = owners_of(tmp_path)
    assert owner("src/x.py") == "Ada Byron"
    (tmp_path / "CODEOWNERS").write_text("/src/ @team\n")
    assert owners_of(tmp_path)("src/x.py") == "@team"
    assert owners_of(tmp_path)("lib/x.py") == "Ada Byron"


def test_a_link_out_of_the_tree_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("* @someone\n")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "CODEOWNERS").symlink_to(tmp_path / "secret")
    assert owners_of(tree)("a") == ""


@given(st.text(max_size=400), st.text(max_size=200))
def test_any_text_is_read(text: str, path: str) -> None:
    match(parse(text), path)


def test_a_hostile_pattern_is_not_slow() -> None:
    rules = parse("**/a*a*a*a*a*b/" * 20 + "x @o")
    with soon():
        match(rules, "/".join(["a" * 200] * 19))
