"""What is held is handed out when a file with AI, or the way from a route to a model, leads to it; the rest is never parsed."""

from __future__ import annotations

from afterguard.code.parse import parse
from afterguard.discover import code
from afterguard.discover.summary import Summary
from afterguard.discover.worth import worth
from afterguard.jobs import held
from afterguard.jobs.held import Held
from afterguard.model import Source

BRAIN = """
from openai import OpenAI
def think(text):
    return OpenAI().chat.completions.create(model="gpt-4o", messages=[])
"""
ROUTES = """
from fastapi import FastAPI
from app.desk import Desk
def register(app: FastAPI, desk: Desk):
    @app.post("/chat")
    def chat(text: str):
        return desk.reply(text)
"""
BETWEEN = {
    "app/desk/__init__.py": "from .inner import Desk\n",
    "app/desk/inner.py": "from ..clerk import answer\nclass Desk:\n    def reply(self, text):\n        return answer(text)\n",
    "app/clerk.py": "from .brain import think\ndef answer(text):\n    return think(text)\n",
}
APART = {"app/paint.py": "def paint(text):\n    return text\n", "other/desk.py": "class Desk:\n    size = 1\n"}


def handed_out(tree: dict[str, str], used: dict[str, str]) -> list[str]:
    """Paths in the order they are asked to be parsed."""
    kept, summaries = Held(), list[Summary]()
    for path, text in used.items():
        source = Source(path, text.encode(), "python")
        kept.used(source)
        list(code.find(parse(source), summaries.append))
    for path, text in tree.items():
        assert kept.keep(Source(path, text.encode(), "python"), worth(text.encode()))
    out = []
    for source, ai in kept.belonging(summaries, checking=False):
        assert ai
        out.append(source.path)
        list(code.find(parse(source), summaries.append))
    return out


def test_files_between_a_route_and_a_model_are_found_step_by_step() -> None:
    tree = {"web/routes.py": ROUTES, **BETWEEN, **APART}
    assert handed_out(tree, {"app/brain.py": BRAIN}) == ["web/routes.py", *BETWEEN]


def test_where_no_model_runs_only_what_names_a_file_with_ai_is_handed_out() -> None:
    tree = {"web/routes.py": ROUTES, **BETWEEN, **APART}
    assert handed_out(tree, {"app/names.py": 'MODEL = "gpt-4o"\n'}) == []


def test_what_does_not_fit_is_not_held() -> None:
    kept = Held()
    big = Source("a.py", b"x = 1\n" * (held.HELD_BYTES // 6 + 1), "python")
    assert not kept.keep(big, worth(b""))
    assert not kept.sources
