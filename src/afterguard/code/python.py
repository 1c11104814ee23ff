"""Python source -> Module, by the standard library's `ast`; nothing is compiled to code, imported or run.

In: a Source. Out: a Module, always. A file that does not parse as a whole is read piece by piece, bad lines blanked and listed in
`errors`. It resolves names through imports, `importlib.import_module`, `__import__` and `getattr` with literal arguments, and
follows nothing else: what a variable holds is for values.py.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator

from afterguard.code.python_tree import Builder
from afterguard.code.syntax import Import, Module
from afterguard.model import Source

MAX_BYTES = 1_500_000
"""Above this only the first part is parsed: a syntax tree takes about 150 bytes of memory a byte of source."""
MAX_ERRORS = 50
_COOKIE = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)", re.M)
_IMPORT = re.compile(r"^\s*(?:from\s+([.\w]+)\s+import\s+([\w, *()]+)|import\s+([\w., ]+))")
_TOP = re.compile(r"^(?=[^\s#)\]}])", re.M)

Errors = list[tuple[int, str]]


def parse(source: Source) -> Module:
    """The module of a .py file. Never raises."""
    errors: Errors = []
    text = decode(source.data, errors)
    return read(source.path, text, errors)


def decode(data: bytes, errors: Errors) -> str:
    """Text of a source file: UTF-8, else its coding cookie, else Latin-1 with an error; null bytes become blanks."""
    if len(data) > MAX_BYTES:
        cut = data.rfind(b"\n", 0, MAX_BYTES)
        data = data[: cut if cut > 0 else MAX_BYTES]
        errors.append((data.count(b"\n") + 1, f"only the first {len(data)} bytes were parsed"))
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace").replace("\0", " ")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        cookie = _COOKIE.search(data[:300])
        text = _by_cookie(data, cookie.group(1).decode() if cookie else "", errors)
    return text.replace("\0", " ").replace("\r\n", "\n").replace("\r", "\n")


def _by_cookie(data: bytes, cookie: str, errors: Errors) -> str:
    if cookie.lower() in (
        "latin-1",
        "iso-8859-1",
        "iso-8859-15",
        "cp1252",
        "cp1251",
        "koi8-r",
        "gbk",
        "gb2312",
        "euc-jp",
    ):
        return data.decode(cookie, "replace")
    errors.append((1, "not UTF-8; read as Latin-1"))
    return data.decode("latin-1")


def read(path: str, text: str, errors: Errors, language: str = "python", physical: list[int] | None = None) -> Module:
    """The module of decoded text. `physical[n]` is the line to report for line n + 1 of the text, where they differ."""
    builder = Builder(path, language, errors)
    tree = tree_of(text)
    parts = [tree.body] if isinstance(tree, ast.Module) else pieces(text, errors, builder.imports)
    for part in parts:
        if physical:
            _move(part, physical)
        builder.add(part)
    if physical:
        errors[:] = [(physical[min(line, len(physical)) - 1], what) for line, what in errors]
    return builder.module(physical[-1] if physical else text.count("\n") + 1)


def _move(part: list[ast.stmt], physical: list[int]) -> None:
    last = len(physical)
    for statement in part:
        for node in ast.walk(statement):
            if isinstance(node, (ast.stmt, ast.expr)):
                node.lineno = physical[min(node.lineno, last) - 1]
                node.end_lineno = physical[min(node.end_lineno or 1, last) - 1]


def tree_of(text: str) -> ast.Module | tuple[int, str]:
    """The syntax tree, or (line, why) where there is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except SyntaxError as error:
        return (error.lineno or 1, f"syntax: {error.msg}")
    except (ValueError, RecursionError, MemoryError, OverflowError) as error:
        return (1, f"{type(error).__name__}: {str(error)[:80]}")


def pieces(text: str, errors: Errors, imports: list[Import]) -> Iterator[list[ast.stmt]]:
    """Statements of a text that does not parse whole: each top-level block alone, its bad lines blanked.

    The work is bounded by twenty parses a byte; what stays unreadable still gives its imports by line.
    """
    budget = 20 * len(text) + 10_000
    starts = [found.start() for found in _TOP.finditer(text)]
    blocks = [text[a:b] for a, b in zip(starts, [*starts[1:], len(text)])]
    line = text.count("\n", 0, starts[0]) + 1 if starts else 1
    number = 0
    while number < len(blocks):
        block, used, budget = _widest(blocks, number, budget)
        tree, budget = _mended(block, line, errors, budget)
        if tree is None:
            imports.extend(_imports_by_line(block, line))
        else:
            for node in tree.body:
                ast.increment_lineno(node, line - 1)
            yield tree.body
        line += block.count("\n")
        number += used


def _widest(blocks: list[str], number: int, budget: int) -> tuple[str, int, int]:
    """The block at `number` with the following ones a decorator, `else`, or an open string or bracket pulls in."""
    block, used = blocks[number], 1
    for more in range(1, 12):
        if number + more > len(blocks) or budget <= 0:
            break
        tree = tree_of(block)
        budget -= len(block)
        if isinstance(tree, ast.Module):
            return block, more, budget
        following = "".join(blocks[number : number + more + 1])
        if len(following) > 200_000:
            break
        block = following
    return blocks[number], used, budget


def _mended(block: str, line: int, errors: Errors, budget: int) -> tuple[ast.Module | None, int]:
    lines = block.split("\n")
    for _ in range(40):
        budget -= len(block)
        tree = tree_of("\n".join(lines))
        if isinstance(tree, ast.Module):
            return tree, budget
        bad = min(max(tree[0], 1), len(lines))
        if len(errors) < MAX_ERRORS:
            errors.append((line + bad - 1, tree[1]))
        indent = lines[bad - 1][: len(lines[bad - 1]) - len(lines[bad - 1].lstrip())]
        if budget <= 0 or lines[bad - 1].strip() in ("pass", ""):
            break
        lines[bad - 1] = indent + "pass"
    return None, budget


def _imports_by_line(block: str, first: int) -> Iterator[Import]:
    for number, text in enumerate(block.split("\n")[:5000], first):
        found = _IMPORT.match(text[:500])
        if found and found.group(1):
            for name in re.findall(r"\w+", found.group(2)):
                yield Import(found.group(1), name, name, number)
        elif found:
            for name in re.findall(r"[\w.]+", found.group(3).split(" as ")[0]):
                yield Import(name, "", name.split(".")[0], number)
