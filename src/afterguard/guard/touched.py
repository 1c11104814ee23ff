"""What an exchange touched, by name: the revision of the system prompt and the documents that were put before the model.

In: the texts of a request, the keyed hash. Out: 16 hex digits each. They stand in the decision log, so that after an incident it can be asked which conversations saw a document or ran under a prompt, without a text being kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from afterguard.model import Origin, Text, ToolCall, Unjudged

DIGITS = 16
DOCUMENTS = 20
TEXT, PROMPT = 4_000, 200_000
"""Characters of each that are hashed."""
FIRST = 20
"""Texts among which instructions are looked for."""
NONE, UNSEEN = "none", "unseen"


def prompt(texts: Sequence[Text], pseudonym: Callable[[str], str]) -> str:
    """The revision of the application's instructions, "" where none were sent."""
    said = "\n".join(text.value for text in texts[:FIRST] if text.origin is Origin.system)
    return pseudonym(said[:PROMPT])[:DIGITS] if said else ""


def pinned(texts: Sequence[Text], unjudged: Sequence[Unjudged], pseudonym: Callable[[str], str]) -> str:
    """The same for rules, which have to be sure: NONE where no instructions were sent, UNSEEN where there are more than `prompt` hashes, or the provider keeps some."""
    if any(one.reason == "prompt_not_logged" and one.where.endswith(".prompt") for one in unjudged):
        return UNSEEN
    said = [text.value for text in texts if text.origin is Origin.system]
    if len(said) > sum(text.origin is Origin.system for text in texts[:FIRST]) or len("\n".join(said)) > PROMPT:
        return UNSEEN
    return prompt(texts, pseudonym) or NONE


def documents(texts: Sequence[Text], calls: Sequence[ToolCall], pseudonym: Callable[[str], str]) -> dict[int, str]:
    """Of a request's texts and calls: documents, and results of tools that came since the model last spoke; the last DOCUMENTS of them, by the index of their text."""
    return {index: document(text, pseudonym) for index, text in list(_given(texts, calls))[-DOCUMENTS:]}


def document(text: Text, pseudonym: Callable[[str], str]) -> str:
    """The name of one document or result."""
    return name(text.value, pseudonym)


def name(text: str, pseudonym: Callable[[str], str]) -> str:
    """The name of a text that stands somewhere else, to be told again by it: in a vector store, say."""
    return pseudonym(text[:TEXT])[:DIGITS]


def has_documents(texts: Sequence[Text], calls: Sequence[ToolCall]) -> bool:
    """Whether there is any."""
    return next(_given(texts, calls), None) is not None


def _given(texts: Sequence[Text], calls: Sequence[ToolCall]) -> Iterator[tuple[int, Text]]:
    since = -1
    for call in calls:
        since = max(since, call.turn)
    for index, text in enumerate(texts):
        if text.origin is Origin.document or (text.origin is Origin.tool and text.turn > since):
            yield index, text
