"""Files between a web route and a model are read although they name neither."""

from __future__ import annotations

from pathlib import Path

from afterguard.jobs.survey import survey
from afterguard.model import App, AssetKind

FILES = {
    "app/routes.py": """
from fastapi import APIRouter
from app.handling import Handler
router = APIRouter()
@router.post("/chat")
def chat(text: str):
    return Handler().handle_text(text)
""",
    "app/handling.py": """
from app.brain import think
class Handler:
    def handle_text(self, text):
        return think(text)
""",
    "app/brain.py": """
from openai import OpenAI
def think(text):
    return OpenAI().chat.completions.create(model="gpt-4o", messages=[])
""",
    "app/other.py": """
class Other:
    def handle_text(self, text):
        return text.upper()
""",
}


def test_a_route_is_an_ai_endpoint_when_the_model_runs_two_files_away(tmp_path: Path) -> None:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    result = survey([tmp_path], App("x"), note=lambda _row: None, checking=False)
    assert [one.name for one in result.assets if one.kind is AssetKind.ai_endpoint] == ["POST /chat"]


def test_without_the_model_no_route_is_one(tmp_path: Path) -> None:
    for name, text in FILES.items():
        if "brain" not in name:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    result = survey([tmp_path], App("x"), note=lambda _row: None, checking=False)
    assert not [one for one in result.assets if one.kind is AssetKind.ai_endpoint]
