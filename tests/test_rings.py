"""The rings: data runs one way, engines do no I/O. Walks the syntax trees; imports nothing."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "src" / "afterguard"
CORE = {"model", "errors", "names", "ocsf", "match", "config", "catalog", "safe", "shares", "remembered", "sigv4"}
ENGINES = {"wire", "detect", "code", "scan", "risk", "policy", "watch", "attack"}
EDGES = {
    "net",
    "files",
    "archives",
    "compiled",
    "judges",
    "postgres",
    "discover",
    "tap",
    "targets",
    "guard",
    "respond",
    "export",
    "store",
    "report",
    "web",
}
OUTER = {"jobs", "cli", "web", "clients", "__main__", "__init__"}
# Beside core, an engine may read these engines; an edge these edges.
EXTRA = {
    "scan": {"code", "detect"},
    "watch": {"detect"},
    "policy": {"detect"},
    "attack": {"detect", "wire"},
}
EDGE_EXTRA = {
    "files": {"archives"},
    "guard": {"store", "judges", "tap"},  # what is recorded elsewhere and sent here is read as look-back reads it
    "respond": {"store"},
    "web": {"store"},
    "tap": {"store"},
    "discover": {"store"},
}
BANNED_IN_ENGINES = {
    "socket",
    "sqlite3",
    "asyncio",
    "time",
    "datetime.now",
    "random",
    "os",
    "pathlib",
    "requests",
    "httpx",
}


def area(path: Path) -> str:
    """First folder (or file stem) below the package."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Dotted names a file imports, absolute."""
    out: set[str] = set()
    package = ["afterguard", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            out.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            out.update([module] if module != "afterguard" else [f"afterguard.{alias.name}" for alias in node.names])
    return out


def allowed(here: str) -> set[str]:
    if here in CORE:
        return CORE
    if here in ENGINES:
        return CORE | {here} | EXTRA.get(here, set())
    if here in EDGES - {"web"}:
        return CORE | ENGINES | {here, "net", "files", "postgres"} | EDGE_EXTRA.get(here, set())
    if here == "jobs":
        return CORE | ENGINES | EDGES | {"jobs"}
    return CORE | ENGINES | EDGES | OUTER


def test_imports_run_one_way() -> None:
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        here = area(path)
        assert here in CORE | ENGINES | EDGES | OUTER, f"{path}: no ring knows this area"
        for name in imported(path):
            if name.startswith("afterguard."):
                there = name.split(".")[1]
                if there not in allowed(here) and there != "__version__":
                    wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_engines_do_no_io() -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if area(path) in ENGINES
        for name in imported(path)
        if name in BANNED_IN_ENGINES
    ]
    assert not wrong, "\n".join(wrong)
