"""Tools given to models and MCP servers built in code -> tool and mcp_server Assets.

In: Facts, marks of stores. Out: Assets. A tool is a decorated function, a Tool object, a JSON definition with a schema, or a
function in the `tools` of an agent; a decorator called `tool` must come from an AI library or belong to an agent or server.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from afterguard.code.syntax import Expr, Function, argument, walk
from afterguard.discover import agents
from afterguard.discover.facts import Facts, last_part
from afterguard.discover.reach import Reach, edges
from afterguard.model import Asset, AssetKind, Certainty

RELATIONS = {AssetKind.vector_store: "reads", AssetKind.model: "calls", AssetKind.embedding_model: "calls"}
DECORATORS = {
    "tool",
    "function_tool",
    "tool_plain",
    "kernel_function",
    "ai_tool",
    "beta_tool",
    "Tool",
    "McpTool",
    "llm_tool",
    "register_for_llm",
    "ai_function",
    "output_type",
    "P",
    "DefineKernelFunction",
    "KernelFunction",
}
OBJECTS = {
    "Tool",
    "StructuredTool",
    "DynamicTool",
    "DynamicStructuredTool",
    "FunctionTool",
    "BaseTool",
    "tool",
    "createTool",
    "function_tool",
    "FunctionCallingTool",
    "ToolSpecification.builder",
    "QueryEngineTool",
    "from_function",
    "from_defaults",
    "McpServerTool",
    "NewTool",
    "defineTool",
    "dynamicTool",
    "aiTool",
    "RetrieverTool",
    "create_retriever_tool",
    "createRetrieverTool",
    "KernelFunctionFactory",
}
BUILT_IN = {"PythonREPLTool", "ShellTool", "BashTool", "DuckDuckGoSearchRun", "TavilySearchResults", "TavilySearch", "WikipediaQueryRun", "SerperDevTool", "FileReadTool", "DirectoryReadTool", "CodeInterpreterTool", "WebSearchTool", "FileSearchTool", "ComputerTool", "SQLDatabaseToolkit", "QuerySQLDataBaseTool", "QuerySQLDatabaseTool", "RequestsGetTool", "WriteFileTool", "ReadFileTool", "PythonAstREPLTool", "DuckDuckGoSearchTool", "VisitWebpageTool", "ScrapeWebsiteTool", "GmailToolkit", "SlackToolkit", "JiraToolkit", "GitHubToolkit", "FileManagementToolkit", "LocalShellTool", "HostedMCPTool", "BrowserTool", "PythonInterpreterTool", "CSVSearchTool", "PDFSearchTool", "RagTool", "WebsiteSearchTool"}  # fmt: skip
SERVERS = {
    "FastMCP",
    "Server",
    "McpServer",
    "MCPServer",
    "NewMCPServer",
    "NewServer",
    "LowLevelServer",
    "createMcpHandler",
    "McpSyncServer",
    "sync",
    "async",
}


def find(facts: Facts, reach: Reach) -> Iterator[Asset]:
    """MCP servers first, then tools in their four forms."""
    yield from servers(facts, reach)
    for function in facts.module.functions:
        yield from _decorated(facts, reach, function)
    for function, call in facts.calls:
        yield from _object(facts, reach, function, call)
        yield from _listed(facts, reach, function, call)
    yield from _definitions(facts, reach)
    for klass in facts.module.classes:
        if any(
            last_part(base) in ("BaseTool", "StructuredTool", "Tool") and facts.product(base) for base in klass.bases
        ):
            name = next(
                (
                    one.value.text
                    for one in klass.body
                    if "name" in one.targets and one.value and one.value.kind == "text"
                ),
                "",
            )
            yield facts.asset(AssetKind.tool, name or klass.name, klass.line)


def servers(facts: Facts, reach: Reach) -> Iterator[Asset]:
    """MCP servers by construction."""
    for function, call in facts.calls:
        full = facts.full(call.text, function.name)
        signal = facts.product(full)
        if signal is None or "mcp" not in signal.roles or last_part(full) not in SERVERS:
            continue
        if last_part(full) in ("sync", "async") and "McpServer" not in full:
            continue
        named = [*(one for key in ("name", "server_name") if (one := argument(call, key)) is not None), *call.parts[:1]]
        words = [word for one in named for word in facts.texts(one, function.name)]
        name = next((word.text for word in words if word.certainty != "unresolved"), "") or "mcp-server"
        text = " ".join(
            one.text
            for _, one in facts.calls
            if last_part(one.text)
            in (
                "run",
                "connect",
                "StdioServerTransport",
                "StreamableHTTPServerTransport",
                "SSEServerTransport",
                "ServeStdio",
                "run_async",
            )
        )
        transport = "http" if re.search(r"(?i)StreamableHTTP|SSE|Http", text) else "stdio" if "tdio" in text else ""
        for _, one in facts.calls:
            given = facts.literal(argument(one, "transport")) if last_part(one.text) in ("run", "run_async") else ""
            transport = given or transport
        reach.mark(function, call, AssetKind.mcp_server, name)
        sure = Certainty.declared if name != "mcp-server" else Certainty.inferred
        yield facts.asset(AssetKind.mcp_server, name, call.line, sure, transport=transport, framework=signal.name)


def _decorated(facts: Facts, reach: Reach, function: Function) -> Iterator[Asset]:
    for decorator in function.decorators:
        word = last_part(decorator.text)
        if word not in DECORATORS or not _from_ai(facts, decorator, function):
            continue
        given = argument(decorator, "name") or argument(decorator, "name_override")
        if (
            given is None
            and facts.language not in ("java", "kotlin")
            and decorator.parts
            and decorator.parts[0].kind == "text"
            and re.fullmatch(r"[\w.-]{1,64}", decorator.parts[0].text)
        ):
            given = decorator.parts[0]
        name = facts.literal(given, "") or function.name.rpartition(".")[2]
        reach.marks[function.name].discard((AssetKind.tool, name))
        things = reach.of(function.name)
        reach.lines[function.line].add((AssetKind.tool, name))
        reach.lines[decorator.line].add((AssetKind.tool, name))
        yield facts.asset(
            AssetKind.tool,
            name,
            function.line,
            Certainty.declared,
            edges(things, RELATIONS),
            framework=_library(facts, decorator),
        )
        return


def _library(facts: Facts, decorator: Expr) -> str:
    signal = facts.product(facts.full(decorator.text, ""))
    return signal.name if signal else ""


def _from_ai(facts: Facts, decorator: Expr, function: Function) -> bool:
    full = facts.full(decorator.text, function.name.rpartition(".")[0])
    if facts.product(full) is not None:
        return True
    root = re.split(r"[.(]", decorator.text)[0].lower()
    owned = "." in decorator.text and re.search(r"agent|mcp|server|assistant|tools?\b|app$", root) is not None
    return owned and (facts.is_ai or "mcp" in root or "agent" in root)


def _object(facts: Facts, reach: Reach, function: Function, call: Expr) -> Iterator[Asset]:
    """Tool(name=...), tool({...}), server.tool("name", ...), AddTool."""
    full = facts.full(call.text, function.name)
    word = last_part(full)
    signal = facts.product(full)
    method = word in ("tool", "registerTool", "AddTool", "add_tool", "addTool", "register_tool", "addFunction")
    if signal is None and not (method and facts.is_ai and re.search(r"(?i)server|mcp|agent", full)):
        return
    if word in BUILT_IN:
        reach.mark(function, call, AssetKind.tool, word)
        yield facts.asset(AssetKind.tool, word, call.line, framework=signal.name if signal else "")
        return
    if word not in OBJECTS and not method:
        return
    if word in ("from_function", "from_defaults", "sync") and "Tool" not in full:
        return
    name = _tool_name(facts, function, call, method)
    if not name:
        return
    things = reach.inside(call, function.name)
    for one in walk(call):
        if one.kind == "lambda" and one.text:
            things |= reach.of(one.text)
    for key in ("func", "coroutine", "fn", "execute", "function"):
        value = argument(call, key)
        if value is not None and value.kind == "name":
            things |= reach.of(value.text)
    reach.mark(function, call, AssetKind.tool, name)
    yield facts.asset(
        AssetKind.tool,
        name,
        call.line,
        Certainty.declared,
        edges(things, RELATIONS),
        framework=signal.name if signal else "",
    )


def _tool_name(facts: Facts, function: Function, call: Expr, method: bool) -> str:
    for key in ("name", "id"):
        text = facts.literal(argument(call, key), function.name)
        if text:
            return text
    first = call.parts[0] if call.parts else None
    if first is not None and first.kind == "text" and re.fullmatch(r"[\w./-]{1,80}", first.text):
        return first.text
    if first is not None and first.kind == "name" and first.text in facts.functions:
        return first.text.rpartition(".")[2]
    handler = argument(call, "func") or argument(call, "fn")
    if handler is not None and handler.kind == "name":
        return handler.text.rpartition(".")[2]
    if first is not None and first.kind == "call" and last_part(first.text) == "NewTool" and first.parts:
        return ""
    for holder in facts.module.functions:
        for statement in holder.body:
            for one in walk(statement.value) if statement.value is not None else ():
                if one.kind == "map":
                    for key, value in one.fields:
                        if value is call and key != "*":
                            return key
            if statement.value is call and statement.targets:
                return statement.targets[0].rpartition(".")[2]
    return ""


def _listed(facts: Facts, reach: Reach, function: Function, call: Expr) -> Iterator[Asset]:
    """Plain functions in `tools=[...]` of an agent or of bind_tools."""
    full = facts.full(call.text, function.name)
    if facts.product(full) is None and not full.endswith((".bind_tools", ".bindTools")):
        return
    value = argument(call, "tools", 0 if full.endswith(("bind_tools", "bindTools")) else None) or argument(
        call, "functions"
    )
    if value is None or not (
        agents.framework_of(facts, full)
        or full.endswith(("bind_tools", "bindTools", "generate_content", "ToolNode", ".run", "GenerativeModel", "chat"))
    ):
        return
    for one in facts.resolve(value, function.name):
        for part in one.parts[:100] if one.kind == "list" else ():
            target = facts.functions.get(part.text) if part.kind == "name" else None
            if target is not None and not target.decorators:
                name = target.name.rpartition(".")[2]
                reach.lines[call.line].add((AssetKind.tool, name))
                yield facts.asset(
                    AssetKind.tool, name, target.line, Certainty.declared, edges(reach.of(target.name), RELATIONS)
                )
            elif target is not None:
                reach.lines[call.line].add((AssetKind.tool, target.name.rpartition(".")[2]))


def _definitions(facts: Facts, reach: Reach) -> Iterator[Asset]:
    """JSON shapes: {type: function, function: {name}}, {name, input_schema}, {name, description, parameters}."""
    nested: set[int] = set()
    for function, expr in facts.of_kind("map"):
        if expr.kind != "map":
            continue
        fields = dict(expr.fields)
        kind, inner = fields.get("type"), fields.get("function")
        if kind is not None and kind.text == "function" and inner is not None and inner.kind == "map":
            nested.add(id(inner))
            continue
        text = _defined(facts, function, fields, id(expr) in nested)
        if text:
            things = reach.of(text) if text in facts.functions else set()
            reach.lines[expr.line].add((AssetKind.tool, text))
            yield facts.asset(AssetKind.tool, text, fields["name"].line, Certainty.declared, edges(things, RELATIONS))


def _defined(facts: Facts, function: Function, fields: dict[str, Expr], nested: bool) -> str:
    """The name in a map that defines a tool, "" for any other map."""
    name = fields.get("name")
    schema = fields.get("input_schema") or fields.get("inputSchema") or fields.get("parameters")
    if name is None or not (nested or (schema is not None and "description" in fields)):
        return ""
    keys = dict(schema.fields) if schema is not None else {}
    if (
        not nested
        and schema is not None
        and schema.kind == "map"
        and not {"type", "properties", "*", "$schema"} & keys.keys()
    ):
        return ""
    kind = fields.get("type")
    is_schema = "properties" in keys and "type" in keys and keys["type"].text == "object"
    if not (
        nested or facts.is_ai or "input_schema" in fields or is_schema or (kind is not None and kind.text == "function")
    ):
        return ""
    text = facts.literal(name, function.name)
    return text if re.fullmatch(r"[\w.-]{1,80}", text) else ""
