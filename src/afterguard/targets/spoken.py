"""A conversation so far and a new Prompt -> its lines, the same for every protocol.

In: turns (Prompt, Reply), a Prompt. Out: `Line`s in order. Pure. A call that the application's model made is followed by a result, because protocols refuse a conversation in which one is missing; it says that nothing was run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from afterguard.attack.contract import Plant, Prompt, Reply, Surface

IN_MESSAGE = {
    Surface.document: "<document name={name}>\n{content}\n</document>",
    Surface.mail: "<mail subject={name}>\n{content}\n</mail>",
    Surface.page: "<page address={name}>\n{content}\n</page>",
    Surface.file_name: "Attached: {content}",
    Surface.image_text: "[picture {name}, text read from it: {content}]",
    Surface.memory: "<memory>\n{content}\n</memory>",
}
"""How a text of an outsider stands in a message of the user."""
NOT_RUN = "This tool was not run."
EMPTY = {"type": "object", "properties": {}}
Turns = Sequence[tuple[Prompt, Reply]]


class Line(NamedTuple):
    """One of: what the user wrote, what the model wrote, a call of the model's, its result."""

    kind: Literal["user", "model", "call", "result"]
    text: str
    """Of a call: its arguments as JSON."""
    name: str = ""
    id: str = ""


def held(prompt: Prompt) -> list[str]:
    """The texts of outsiders that stand in the user's message."""
    return [
        IN_MESSAGE[plant.surface].format(name=repr(plant.name), content=plant.content)
        for plant in prompt.plants
        if plant.surface in IN_MESSAGE
    ]


def described(prompt: Prompt) -> list[tuple[str, str]]:
    """Name and description of the tools that an outsider described."""
    return [(one.name or "look_up", one.content) for one in planted(prompt, Surface.tool_description)]


def planted(prompt: Prompt, surface: Surface) -> Iterable[Plant]:
    """The plants of one surface."""
    return (one for one in prompt.plants if one.surface is surface)


def lines(turns: Turns, prompt: Prompt) -> list[Line]:
    """Everything that was said, and the new turn."""
    out: list[Line] = []
    for number, (asked, reply) in enumerate(turns):
        out += [*_asked(asked, number), *_said(reply, number)]
    return [*out, *_asked(prompt, len(turns))]


def _asked(prompt: Prompt, number: int) -> Iterator[Line]:
    yield Line("user", "\n\n".join([*held(prompt), prompt.text]))
    for index, plant in enumerate(planted(prompt, Surface.tool_result)):
        id, name = f"call_{number}_{index}", plant.name or "look_up"
        yield Line("call", "{}", name, id)
        yield Line("result", plant.content, name, id)


def _said(reply: Reply, number: int) -> Iterator[Line]:
    if reply.text or not reply.calls:
        yield Line("model", reply.text)
    named = [(call, f"call_{number}_said_{index}") for index, call in enumerate(reply.calls)]
    for call, id in named:
        yield Line("call", call.arguments or "{}", call.name, id)
    for call, id in named:
        yield Line("result", NOT_RUN, call.name, id)
