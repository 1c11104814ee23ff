"""Dockerfiles: instructions with lines, variables put in, here-documents joined."""

from __future__ import annotations

from afterguard.code import dockerfile
from afterguard.code.document import Node
from afterguard.model import Source

TEXT = b"""# syntax=docker/dockerfile:1
ARG TAG=v0.5
FROM --platform=linux/amd64 vllm/vllm-openai:${TAG} AS base
ENV A=1 \\
    # why
    B="x y" \\
    C=$A
ENV OLD value with words
RUN <<EOF
pip install x
FROM not/an-image
EOF
EXPOSE 8000/tcp 9000
COPY --from=base --chown=1:1 a b /c/
CMD ["serve", "--model", "m"]
ENTRYPOINT run ${MISSING:-now} $UNKNOWN
LABEL a.b="c" 'd'=e
USER ${A}
"""


def read(data: bytes = TEXT) -> list[tuple[str, int, Node]]:
    document = dockerfile.parse(Source("Dockerfile", data, "dockerfile"))
    return [(key.text, key.line, value) for key, value in document.roots[0].fields]


def test_instructions_and_lines() -> None:
    assert [(name, line) for name, line, _ in read()] == [
        ("ARG", 2), ("FROM", 3), ("ENV", 4), ("ENV", 8), ("RUN", 9), ("EXPOSE", 13), ("COPY", 14), ("CMD", 15),
        ("ENTRYPOINT", 16), ("LABEL", 17), ("USER", 18),
    ]  # fmt: skip


def test_values() -> None:
    found = {(name, line): value for name, line, value in read()}
    assert found["FROM", 3].string("image") == "vllm/vllm-openai:v0.5"
    assert found["FROM", 3].string("as") == "base"
    env = found["ENV", 4]
    assert [(key.text, value.text, value.line) for key, value in env.fields] == [
        ("A", "1", 4),
        ("B", "x y", 6),
        ("C", "1", 7),
    ]
    assert found["ENV", 8].string("OLD") == "value with words"
    assert [item.text for item in found["EXPOSE", 13].items] == ["8000/tcp", "9000"]
    assert [item.text for item in found["COPY", 14].items] == ["a", "b", "/c/"]
    assert [item.text for item in found["CMD", 15].items] == ["serve", "--model", "m"]
    assert found["ENTRYPOINT", 16].tag == "shell"
    assert found["USER", 18].text == "1"


def test_unknown_variables_stay_and_are_unresolved() -> None:
    value = next(value for name, _, value in read(b"FROM x/y:${NOPE}\n") if name == "FROM").get("image")
    assert value is not None and (value.text, value.resolved) == ("x/y:${NOPE}", False)


def test_a_line_that_is_no_instruction_is_said() -> None:
    document = dockerfile.parse(Source("Dockerfile", b"FROM a\nwhatever this is\n", "dockerfile"))
    assert document.errors and document.errors[0][0] == 2


def test_the_windows_escape_character() -> None:
    assert read(b"# escape=`\nFROM a\nENV A=1 `\n  B=2\n")[1][2].string("B") == "2"
