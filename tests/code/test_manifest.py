"""Manifests and lock files of every ecosystem become packages with version, pin and physical line; hostile ones become nothing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.code.manifest import Package, packages, reader_of, requirement
from afterguard.code.parse import parse
from afterguard.files import kind_of
from afterguard.model import Source


def read(path: str, text: str | bytes) -> list[Package]:
    data = text.encode() if isinstance(text, str) else text
    return list(packages(parse(Source(path, data, kind_of(path, data)))))


def rows(path: str, text: str) -> list[tuple[str, str, str, int]]:
    return [(one.ecosystem, one.name, one.version or one.specifier, one.line) for one in read(path, text)]


CASES = [
    (
        "requirements.txt",
        "# c\nopenai==1.2.3\nlangchain[all]>=0.1 ; python_version>'3'  # x\n-r other.txt\ngit+https://x/y/vllm.git@main\nplain\n",
        [("pypi", "openai", "1.2.3", 2), ("pypi", "langchain", ">=0.1", 3), ("pypi", "vllm", "git+https://x/y/vllm.git@main", 5), ("pypi", "plain", "", 6)],
    ),
    (
        "pyproject.toml",
        '[project]\ndependencies = [\n  "openai>=1",\n]\n[dependency-groups]\ndev = ["torch==2.1"]\n[tool.poetry.dependencies]\npython = "^3.11"\nanthropic = "^0.20"\n[tool.poetry.group.x.dependencies]\ncrewai = {version = "0.1", extras = ["t"]}\n',
        [("pypi", "openai", ">=1", 3), ("pypi", "torch", "2.1", 6), ("pypi", "anthropic", "^0.20", 9), ("pypi", "crewai", "0.1", 11)],
    ),
    ("setup.py", 'from setuptools import setup\nsetup(name="x", install_requires=["openai>=1"], extras_require={"a": ["torch"]})\n', [("pypi", "openai", ">=1", 2), ("pypi", "torch", "", 2)]),
    ("setup.cfg", "[metadata]\nname = x\n[options]\ninstall_requires =\n    openai>=1\n    torch\npackages = find:\n", [("pypi", "openai", ">=1", 5), ("pypi", "torch", "", 6)]),
    ("Pipfile", '[packages]\nopenai = "==1.0"\n', [("pypi", "openai", "1.0", 2)]),
    ("Pipfile.lock", '{"default": {\n "openai": {"version": "==1.0"}}}', [("pypi", "openai", "1.0", 2)]),
    ("poetry.lock", '[[package]]\nname = "openai"\nversion = "1.0"\n', [("pypi", "openai", "1.0", 2)]),
    ("uv.lock", 'version = 1\n[[package]]\nname = "torch"\nversion = "2.0"\n', [("pypi", "torch", "2.0", 3)]),
    ("environment.yml", "dependencies:\n  - python=3.11\n  - pytorch::pytorch=2.1\n  - pip:\n    - openai==1.0\n", [("pypi", "pytorch", "2.1", 3), ("pypi", "openai", "1.0", 5)]),
    ("package.json", '{\n "dependencies": {\n  "openai": "4.2.0",\n  "ai": "^3"\n }\n}', [("npm", "openai", "4.2.0", 3), ("npm", "ai", "^3", 4)]),
    ("package-lock.json", '{"packages": {"": {"name": "x"},\n"node_modules/openai": {"version": "4.0.0"}}}', [("npm", "openai", "4.0.0", 2)]),
    ("yarn.lock", '# v1\n"@ai-sdk/openai@^1.0":\n  version "1.0.2"\nopenai@^4:\n  version "4.1.0"\n', [("npm", "@ai-sdk/openai", "1.0.2", 2), ("npm", "openai", "4.1.0", 4)]),
    ("pnpm-lock.yaml", "packages:\n  openai@4.0.0(zod@3):\n    resolution: {}\n  /@x/y/1.2.3:\n    dev: true\n", [("npm", "openai", "4.0.0", 2), ("npm", "@x/y", "1.2.3", 4)]),
    ("bun.lock", '{\n "packages": {\n  "openai": ["openai@4.1.0", "", {}, "sha"],\n },\n}', [("npm", "openai", "4.1.0", 3)]),
    ("go.mod", "module x\ngo 1.22\nrequire github.com/a/b v1.0.0\nrequire (\n\tgithub.com/sashabaranov/go-openai v1.2.0 // indirect\n)\n", [("go", "github.com/a/b", "v1.0.0", 3), ("go", "github.com/sashabaranov/go-openai", "v1.2.0", 5)]),
    ("go.sum", "github.com/a/b v1.0.0 h1:x=\ngithub.com/a/b v1.0.0/go.mod h1:y=\n", [("go", "github.com/a/b", "v1.0.0", 1)]),
    (
        "pom.xml",
        "<project>\n<properties><v>1.5</v></properties>\n<dependencies>\n<dependency>\n<groupId>dev.langchain4j</groupId>\n<artifactId>langchain4j</artifactId>\n<version>${v}</version>\n</dependency></dependencies></project>",
        [("maven", "dev.langchain4j:langchain4j", "1.5", 6)],
    ),
    ("build.gradle.kts", 'dependencies {\n  implementation("dev.langchain4j:langchain4j:0.30.0")\n  implementation(platform("a.b:c:1"))\n}', [("maven", "dev.langchain4j:langchain4j", "0.30.0", 2), ("maven", "a.b:c", "1", 3)]),
    ("gradle/libs.versions.toml", '[versions]\nlc = "0.3"\n[libraries]\nx = { module = "dev.langchain4j:langchain4j", version.ref = "lc" }\n', [("maven", "dev.langchain4j:langchain4j", "0.3", 4)]),
    ("gradle.lockfile", "# c\na.b:c:1.0=compileClasspath\n", [("maven", "a.b:c", "1.0", 2)]),
    ("Cargo.toml", '[dependencies]\nasync-openai = "0.20"\ncandle-core = { git = "https://x" }\n', [("cargo", "async-openai", "0.20", 2), ("cargo", "candle-core", "", 3)]),
    ("Gemfile", "source 'x'\ngem 'ruby-openai', '~> 6.0'\n", [("gem", "ruby-openai", "~> 6.0", 2)]),
    ("composer.json", '{"require": {\n"openai-php/client": "^0.8", "php": "8"}}', [("packagist", "openai-php/client", "^0.8", 2)]),
    ("App.csproj", '<Project><ItemGroup>\n<PackageReference Include="Azure.AI.OpenAI" Version="1.0.0" /></ItemGroup></Project>', [("nuget", "Azure.AI.OpenAI", "1.0.0", 2)]),
]  # fmt: skip


@pytest.mark.parametrize(("path", "text", "expected"), CASES, ids=[case[0] for case in CASES])
def test_formats(path: str, text: str, expected: list[tuple[str, str, str, int]]) -> None:
    assert rows(path, text) == expected


def test_other_files_hold_no_packages() -> None:
    assert reader_of("docs/notes.txt") is None
    assert read("src/app.py", "install_requires = ['openai']") == []


def test_xml_entities_are_not_expanded() -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><project><dependencies><dependency><groupId>&b;</groupId><artifactId>z</artifactId></dependency></dependencies></project>'
    assert [one.name for one in read("pom.xml", bomb)] == ["&b;:z"]


def test_options_paths_and_prose_are_no_requirements() -> None:
    for text in ("-r base.txt", "--index-url https://x", "./local", "# openai", "", "this is a sentence", "\\"):
        assert requirement(text, 1) is None, text


@given(st.sampled_from([case[0] for case in CASES]), st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_junk_never_raises(path: str, data: bytes) -> None:
    read(path, data)


@given(st.sampled_from(CASES), st.integers(0, 400), st.integers(0, 40), st.text(max_size=20))
@settings(max_examples=200, deadline=None)
def test_damaged_files_never_raise(case: tuple[str, str, object], at: int, cut: int, put: str) -> None:
    text = case[1]
    read(case[0], text[: at % len(text)] + put.encode("utf-8", "replace").decode() + text[at % len(text) + cut :])
