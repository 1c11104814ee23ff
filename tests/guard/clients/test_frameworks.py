"""LangChain, the OpenAI agents framework and the MCP client: what is built on the SDKs, with a tool's result going round."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

SAY = "Grüezi — the answer is 42."
ORDER = '{"city": "Bern"}'


# LangChain ------------------------------------------------------------------------------------------------------------


def _model(origin: str, **settings: Any) -> Any:
    langchain = pytest.importorskip("langchain_openai")
    return langchain.ChatOpenAI(
        model="gpt-4o", base_url=f"{origin}/openai/v1", api_key="stand-in", stream_usage=True, **settings
    )


def _dumped(message: Any) -> Any:
    """Without the id that LangChain draws anew for each run of a stream."""
    return message.model_dump(exclude={"id"})


@pytest.mark.parametrize("responses", [False, True], ids=["chat", "responses"])
def test_langchain_plain_and_stream(responses: bool, both: Any, tag: str) -> None:
    order = f"What is it? [[say: {SAY}]] [[tag: {tag}]]"

    def talk(origin: str) -> Any:
        model = _model(origin, use_responses_api=responses)
        return _dumped(model.invoke(order)), [_dumped(part) for part in model.stream(order)]

    whole, parts = both(talk)
    assert _text(whole["content"]) == "".join(_text(part["content"]) for part in parts) == SAY


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def test_langchain_tools(both: Any, tag: str) -> None:
    messages = pytest.importorskip("langchain_core.messages")
    tools = pytest.importorskip("langchain_core.tools")

    @tools.tool
    def forecast(city: str) -> str:
        """Weather of a city."""
        return f"Sun in {city}."

    def talk(origin: str) -> Any:
        model = _model(origin).bind_tools([forecast])
        asked = messages.HumanMessage(f"Weather? [[call: forecast {ORDER}]] [[tag: {tag}]]")
        first = model.invoke([asked])
        streamed = None
        for part in model.stream([asked]):
            streamed = part if streamed is None else streamed + part
        results = [forecast.invoke(call) for call in first.tool_calls]
        last = model.invoke([asked, first, *results])
        return first.tool_calls, streamed.tool_calls, last.content

    first, streamed, last = both(talk)
    assert (
        [(call["name"], call["args"]) for call in first]
        == [(call["name"], call["args"]) for call in streamed]
        == [("forecast", {"city": "Bern"})]
    )
    assert last == "The tool said: Sun in Bern."


def test_langchain_many_at_once(both: Any, tag: str) -> None:
    def talk(origin: str) -> Any:
        orders = [f"[[say: number {n}]] [[tag: {tag}]]" for n in range(12)]
        return [reply.content for reply in _model(origin).batch(orders, config={"max_concurrency": 6})]

    assert both(talk) == [f"number {n}" for n in range(12)]


def test_langchain_cancelling(way: Any, tag: str) -> None:
    async def talk() -> float:
        async for _ in _model(way.origin).astream(f"Count [[long: 12000]] [[slow: 0.002]] [[tag: {tag}]]"):
            break
        return time.monotonic()

    left = asyncio.run(talk())
    row = way.stand_in.outcome(tag, within=20)
    assert row["outcome"] == "cancelled" and row["ended"] - left < 8


# Agents ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_an_agent_uses_its_tool(api: str, streamed: bool, both: Any, tag: str) -> None:
    agents = pytest.importorskip("agents")
    openai = pytest.importorskip("openai")
    agents.set_tracing_disabled(True)
    kind = agents.OpenAIChatCompletionsModel if api == "chat" else agents.OpenAIResponsesModel

    async def converse(origin: str) -> Any:
        used: list[str] = []

        @agents.function_tool
        def forecast(city: str) -> str:
            """Weather of a city."""
            used.append(city)
            return f"Sun in {city}."

        async with openai.AsyncOpenAI(base_url=f"{origin}/openai/v1", api_key="stand-in") as client:
            agent = agents.Agent(
                name="Guide", instructions="Help.", tools=[forecast], model=kind(model="gpt-4o", openai_client=client)
            )
            order = f"Weather? [[call: forecast {ORDER}]] [[tag: {tag}]]"
            if not streamed:
                return (await agents.Runner.run(agent, order)).final_output, used
            run = agents.Runner.run_streamed(agent, order)
            kinds = [event.type async for event in run.stream_events()]
            return run.final_output, used, kinds

    told = both(lambda origin: asyncio.run(converse(origin)))
    assert told[:2] == ("The tool said: Sun in Bern.", ["Bern"])


# MCP ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("server", ["pages", "pages-sse"])
def test_mcp(server: str, both: Any, tag: str) -> None:
    mcp = pytest.importorskip("mcp")

    async def converse(origin: str) -> Any:
        heard: list[Any] = []

        async def hear(note: Any) -> None:
            heard.append(note.data)

        async with mcp.Client(f"{origin}/mcp/{server}", mode="legacy", logging_callback=hear) as client:
            tools = [tool.model_dump() for tool in (await client.list_tools()).tools]
            page = await client.call_tool("read_page", {"url": f"https://example.com/ [[tag: {tag}]]"})
            total = await client.call_tool("add", {"a": 2, "b": 3})
            resource = await client.read_resource("stand-in://page")
            return tools, page.model_dump(), total.content[0].text, resource.model_dump(), heard

    tools, page, total, _, heard = both(lambda origin: asyncio.run(converse(origin)))
    assert [tool["name"] for tool in tools] == ["read_page", "obey", "add"]
    assert "nine to five" in page["content"][0]["text"] and total == "5"
    assert len(heard) == (2 if server.endswith("sse") else 0)


def test_mcp_client_that_asks_for_the_newest_protocol(both: Any, tag: str) -> None:
    mcp = pytest.importorskip("mcp")

    async def converse(origin: str) -> Any:
        async with mcp.Client(f"{origin}/mcp/pages") as client:
            return (await client.call_tool("obey", {"text": f"[[say: obeyed]] [[tag: {tag}]]"})).content[0].text

    assert both(lambda origin: asyncio.run(converse(origin))) == "obeyed"


def test_mcp_side_by_side(both: Any, tag: str) -> None:
    mcp = pytest.importorskip("mcp")

    async def one(origin: str, number: int) -> str:
        async with mcp.Client(f"{origin}/mcp/pages-sse", mode="legacy") as client:
            return (
                (await client.call_tool("obey", {"text": f"[[say: number {number}]] [[tag: {tag}]]"})).content[0].text
            )

    async def all_of_them(origin: str) -> list[str]:
        return list(await asyncio.gather(*(one(origin, number) for number in range(8))))

    assert both(lambda origin: asyncio.run(all_of_them(origin))) == [f"number {number}" for number in range(8)]
