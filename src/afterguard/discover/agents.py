"""Agents built in code -> agent Assets with the tools they use and the models they call.

In: Facts, marks of models and tools. Out: Assets. The class must come from an agent library: the word "agent" alone is nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from afterguard.catalog import load
from afterguard.code.syntax import Class, Expr, Function, Statement, argument
from afterguard.discover import signals
from afterguard.discover.facts import Facts, last_part
from afterguard.discover.reach import Reach, edges
from afterguard.model import Asset, AssetKind, Certainty

RELATIONS = {
    AssetKind.model: "calls",
    AssetKind.tool: "uses",
    AssetKind.vector_store: "reads",
    AssetKind.mcp_server: "uses",
    AssetKind.agent: "uses",
    AssetKind.provider: "calls",
    AssetKind.inference_server: "calls",
}
_NAMES = ("name", "role", "agent_name", "id", "agentName")
_BUILDERS = {"AiServices.builder", "AiServices.create", "assistants.create", "LlmAgent.builder", "Agent.builder"}


def find(facts: Facts, reach: Reach) -> Iterator[Asset]:
    """Agents by construction, by decorator and by subclass."""
    assigned = _assigned(facts)
    for function, call in facts.calls:
        full = facts.full(call.text, function.name)
        framework = framework_of(facts, full) or _of_its_own(facts, call, full)
        if framework:
            name = _name(facts, function, call, assigned)
            things = reach.inside(call, function.name)
            things = {one for one in things if one != (AssetKind.agent, name)}
            reach.mark(function, call, AssetKind.agent, name)
            if last_part(full)[:1].islower() or name:
                reach.runs.add(function.name) if function.name and last_part(full) == "query" else None
            yield facts.asset(
                AssetKind.agent, name, call.line, Certainty.declared, edges(things, RELATIONS), framework=framework
            )
    for klass in facts.module.classes:
        found = _subclass(facts, klass)
        if found:
            yield facts.asset(AssetKind.agent, klass.name, klass.line, Certainty.declared, framework=found)


def framework_of(facts: Facts, full: str) -> str:
    """The agent framework a resolved callee builds an agent of, "" for anything else."""
    signal = facts.product(full)
    if signal is None:
        return ""
    table = load("signals/calls")["agents"]
    words = table.get(signal.name, ())
    tail = full.rstrip("()")
    last = last_part(full)
    if last.startswith(("from_", "from")) and tail.count(".") and tail.split(".")[-2] in words:
        return signal.name  # AgentWorkflow.from_tools_or_functions
    for word in words:
        plain = word.partition("@")[0]
        if ("." in plain and tail.endswith("." + plain)) or ("@" not in word and "." not in plain and last == plain):
            return "" if plain == "builder" and "Agent" not in tail else signal.name
    return ""


_TOLD = {"system_prompt", "systemPrompt", "instructions", "system_message", "systemMessage"}


def _of_its_own(facts: Facts, call: Expr, full: str) -> str:
    """ "own" for a class called ...Agent that no library holds and that is told what to be and given tools or a name."""
    given = {key for key, _ in call.fields}.union(*({k for k, _ in part.fields} for part in call.parts[:1]))
    told = bool(given & _TOLD) and bool(given & {"tools", "name", "llm", "model"})
    return "own" if told and re.search(r"[a-z]Agent$", last_part(full)) and facts.product(full) is None else ""


def _assigned(facts: Facts) -> dict[tuple[int, str], str]:
    """(line, callee) -> the variable a call is assigned to."""
    out: dict[tuple[int, str], str] = {}
    groups: list[tuple[str, tuple[Statement, ...]]] = [(one.name, one.body) for one in facts.module.functions]
    groups += [(one.name, one.body) for one in facts.module.classes]
    for name, body in groups:
        for statement in body:
            value = statement.value
            if value is None:
                continue
            chain = [value, *value.parts[:1]]
            while chain[-1].base is not None and len(chain) < 40:
                chain.append(chain[-1].base)
            base = value.base
            while base is not None and len(chain) < 80:
                chain.append(base)
                base = base.base
            for one in chain:
                if one.kind == "call" and statement.targets:
                    out.setdefault((one.line, one.text), statement.targets[0])
                elif one.kind == "call" and statement.kind == "return" and name:
                    out.setdefault((one.line, one.text), name.rpartition(".")[2])
    return out


def _name(facts: Facts, function: Function, call: Expr, assigned: dict[tuple[int, str], str]) -> str:
    for key in _NAMES:
        value = argument(call, key)
        text = facts.literal(value, function.name).strip() if value is not None else ""
        if text and len(text) < 80:
            return text
    if (
        call.parts
        and call.parts[0].kind == "text"
        and re.fullmatch(r"[\w .-]{2,60}", call.parts[0].text)
        and not signals.model(call.parts[0].text)
        and ":" not in call.parts[0].text
    ):
        word = last_part(call.text)
        if word in ("Agent", "AssistantAgent", "ConversableAgent", "UserProxyAgent", "ChatAgent"):
            return call.parts[0].text
    variable = assigned.get((call.line, call.text), "").rpartition(".")[2]
    if not variable and function.name:
        variable = function.name.rpartition(".")[2]
    return variable or f"{last_part(call.text)} in {facts.path}"


def _subclass(facts: Facts, klass: Class) -> str:
    for base in klass.bases:
        signal = facts.product(base)
        if (
            signal is not None
            and signal.kind is AssetKind.framework
            and last_part(base) in ("Workflow", "AgentWorkflow")
        ):
            return signal.name
        if (
            signal is not None
            and "agents" in signal.roles
            and re.search(r"Agent$|^Crew$|RoutedAgent|\.Role$", last_part(base))
        ):
            return signal.name
    words = {last_part(one.text) for one in klass.decorators}
    if words & {"CrewBase", "RegisterAiService", "AiService"}:
        return "crewai" if "CrewBase" in words else "langchain4j"
    return ""
