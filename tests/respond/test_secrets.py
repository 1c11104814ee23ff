"""A secret out of a file: the same rules and the same words wherever one is read, and never the secret itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from afterguard import files
from afterguard.cli.respond_places import who
from afterguard.errors import AfterguardError, UsageError
from afterguard.export.secret import Secret
from afterguard.respond import hooks, registries
from afterguard.respond.settings import Hook, Registry
from afterguard.respond.vectors import chroma, elastic, opened, postgres, qdrant

WORD = "correct horse battery staple"


def of_a_hook(path: str) -> str:
    return hooks._secret(Hook(url="https://h", secret=path)).decode()


def of_a_registry(path: str) -> str:
    return registries._known(Registry("mlflow", "https://h", token=path))["authorization"].removeprefix("Bearer ")


def of_a_store(made: Callable[[str], object]) -> Callable[[str], str]:
    def read(path: str) -> str:
        with opened(made(path)):  # type: ignore[arg-type]
            return WORD

    return read


def of_a_person(path: str) -> str:
    who(None, Path(path))  # type: ignore[arg-type]
    raise AssertionError


PLACES: dict[str, Callable[[str], str]] = {
    "sink": lambda path: Secret(file=path).read(),
    "hook": of_a_hook,
    "registry": of_a_registry,
    "chroma": of_a_store(lambda path: chroma.Chroma(collection="a", url="http://127.0.0.1:1", token=path)),
    "elastic": of_a_store(lambda path: elastic.Elastic(collection="a", url="http://127.0.0.1:1", user="u", password=path)),
    "qdrant": of_a_store(lambda path: qdrant.Qdrant(collection="a", url="https://127.0.0.1:1", api_key=path)),
    "postgres": of_a_store(lambda path: postgres.Postgres(collection="a", url="postgresql://h/d", password=path)),
    "person": of_a_person,
}  # fmt: skip


@pytest.mark.parametrize("name", PLACES)
def test_what_is_no_secret_is_said_in_the_same_words_everywhere(name: str, tmp_path: Path) -> None:
    path = tmp_path / "it"
    for data, says in (
        (None, "cannot be read: No such file or directory"),
        (b"", "is not one line of text"),
        (b" \n\n", "is not one line of text"),
        (f"{WORD}\n{WORD}\n".encode(), "is not one line of text"),
        (WORD.encode() + b"\0", "is not one line of text"),
        (WORD.encode() + b"\xff\xfe", "cannot be read: it is no text"),
        (WORD.encode() * 1_000, f"cannot be read: larger than {files.SECRET} bytes"),
    ):
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(UsageError) as told:
            PLACES[name](str(path))
        assert str(told.value) == f"the secret {path} {says}" and told.value.slug == "bad-secret" and told.value.hint
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="not a regular file"):
        PLACES[name](str(tmp_path / "pipe"))


@pytest.mark.parametrize("name", ["sink", "hook", "registry"])
def test_the_end_of_its_line_is_no_part_of_it(name: str, tmp_path: Path) -> None:
    for data in (WORD, WORD + "\n", WORD + "\r\n", f"  {WORD}\n\n", "\ufeff" + WORD):
        (tmp_path / "it").write_text(data, newline="")
        assert PLACES[name](str(tmp_path / "it")) == WORD


def test_a_name_that_is_none() -> None:
    with pytest.raises(AfterguardError, match="cannot be read"):
        files.secret("a\0b")
