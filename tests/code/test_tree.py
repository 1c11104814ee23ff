"""JavaScript, TypeScript, Java, Kotlin and Go become the one syntax; hostile and damaged files give a module, never an exception."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.code.golang import package_name
from afterguard.code.parse import parse
from afterguard.code.syntax import Expr, Module, argument, calls
from afterguard.model import Source

SUFFIX = {"javascript": "js", "typescript": "ts", "java": "java", "kotlin": "kt", "go": "go"}


def module(kind: str, text: str | bytes, suffix: str = "") -> Module:
    data = text.encode() if isinstance(text, str) else text
    found = parse(Source(f"a.{suffix or SUFFIX[kind]}", data, kind)).module
    assert found is not None
    return found


def callees(kind: str, text: str) -> set[str]:
    return {call.text for _, call in calls(module(kind, text))}


def call(kind: str, text: str, name: str) -> Expr:
    return next(one for _, one in calls(module(kind, text)) if one.text.endswith(name))


@pytest.mark.parametrize("kind", ["javascript", "typescript"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('import OpenAI from "openai"; new OpenAI()', "openai.OpenAI"),
        ('import { a as b } from "@x/y"; b()', "@x/y.a"),
        ('import * as ai from "ai"; ai.generateText()', "ai.generateText"),
        ('const { generateText: g } = require("ai"); g()', "ai.generateText"),
        ('const OpenAI = require("openai"); new OpenAI.OpenAI()', "openai.OpenAI"),
        ('async function f() { const { x } = await import("m"); x() }', "m.x"),
        ('require("child_process").exec(a)', "child_process.exec"),
        ("const f = async (q) => { await client.chat.create(q) }", "client.chat.create"),
        ("class A { m() { this.c.run() } }", "this.c.run"),
        ("x?.y?.(1)", "x.y"),
    ],
)
def test_javascript_names(kind: str, text: str, expected: str) -> None:
    assert expected in callees(kind, text)


def test_javascript_functions_have_names_and_parameters() -> None:
    text = 'const chat = async ({ q }, n = "d") => { run(q) };\napp.post("/x", async (req, res) => { go(req) });\nconst t = tool({ execute: async ({ a }) => go(a) });\nexport default function h() {}\nobj.m = function () { go(1) }'
    found = {one.name: [p.name for p in one.params] for one in module("javascript", text).functions}
    assert found == {"": [], "chat": ["q", "n"], "app.post@2": ["req", "res"], "execute": ["a"], "h": [], "m": []}


def test_javascript_jsx_and_html_sinks_are_visible() -> None:
    one = call("javascript", "function C() { return <div dangerouslySetInnerHTML={{ __html: t }}>{x}</div> }", "div")
    assert one.fields[0][0] == "dangerouslySetInnerHTML" and one.fields[0][1].fields[0][0] == "__html"
    statement = module("javascript", "el.innerHTML = r.data").functions[0].body[0]
    assert statement.targets == ("el.innerHTML",) and statement.value is not None and statement.value.text == "r.data"


def test_typescript_keeps_types_out_of_values() -> None:
    text = "interface X { openai: string }\nconst a = (b as any)!.c<string>(1);\nclass K { constructor(private c: OpenAI, d?: number) {} @Post('/x') run() {} }\nenum E { A = 1 }\ntype T = { a: 1 }"
    found = module("typescript", text)
    assert not found.errors and "b.c" in {one.text for _, one in calls(found)}
    assert [p.annotation for p in next(f for f in found.functions if f.name == "K.constructor").params] == [
        "OpenAI",
        "number",
    ]
    assert next(f for f in found.functions if f.name == "K.run").decorators[0].text == "Post"
    assert not module("typescript", "const C = () => <p>{x}</p>", "tsx").errors


def test_escapes_and_templates() -> None:
    body = module("javascript", 'a = "x\\n\\u0041\\x42\\q"; b = `p${q}r`; c = "a" + "b";').functions[0].body
    assert [one.value.text if one.value else "" for one in body] == ["x\nABq", "", "ab"]
    assert body[1].value is not None and body[1].value.kind == "join"


def test_minified_files_are_left_out() -> None:
    found = module("javascript", b"var a=1;" * 10_000)
    assert not found.functions and found.errors[0][1].startswith("minified")


JAVA = """package a;
import dev.langchain4j.model.openai.OpenAiChatModel;
@RestController
class Chat extends Base {
  private final OpenAiChatModel model;
  static final String M = "gpt" + "-4o";
  @PostMapping("/chat")
  String chat(@RequestBody String q) {
    var m = OpenAiChatModel.builder().modelName(M).build();
    String p = String.format("hi %s", q);
    run(() -> { other(q); });
    return m.generate(p);
  }
}
"""


def test_java() -> None:
    found = module("java", JAVA)
    assert not found.errors
    chat = next(one for one in found.functions if one.name == "Chat.chat")
    assert chat.decorators[0].text == "PostMapping" and chat.params[0].name == "q"
    assert [s.value.kind for s in chat.body if s.targets == ("p",) and s.value] == ["join"]
    assert "dev.langchain4j.model.openai.OpenAiChatModel.builder().modelName" in {one.text for _, one in calls(found)}
    fields = {s.targets[0]: s.value.text for s in found.classes[0].body if s.value}
    assert fields == {"model": "dev.langchain4j.model.openai.OpenAiChatModel", "M": "gpt-4o"}
    assert found.classes[0].bases == ("Base",)


KOTLIN = """import com.aallam.openai.client.OpenAI
const val MODEL = "gpt-4o"
class Chat(private val client: OpenAI) : Base(1) {
    @PostMapping("/chat")
    suspend fun chat(q: String): String {
        val m = OpenAI(token = System.getenv("K"), host = "h")
        val text = "ask $q and ${q.x}"
        list.map { e -> bar(e) }
        return m.chat(text)
    }
}
fun Application.module() { routing { post("/x") { call.respond(go()) } } }
"""


def test_kotlin() -> None:
    found = module("kotlin", KOTLIN)
    assert not found.errors
    one = call("kotlin", KOTLIN, "OpenAI")
    host = argument(one, "host")
    assert one.text == "com.aallam.openai.client.OpenAI" and host is not None and host.text == "h"
    chat = next(f for f in found.functions if f.name == "Chat.chat")
    text = next(s.value for s in chat.body if s.targets == ("text",))
    assert text is not None and [part.text for part in text.parts if part.kind == "name"] == ["q", "q.x"]
    assert {"bar", "call.respond", "go"} <= {c.text for _, c in calls(found)}
    assert (
        found.classes[0].body[0].value is not None
        and found.classes[0].body[0].value.text == "com.aallam.openai.client.OpenAI"
    )


GO = """package main
import (
  "net/http"
  openai "github.com/sashabaranov/go-openai"
)
const Model = "gpt-4"
type S struct { c *openai.Client }
func (s *S) chat(w http.ResponseWriter, r *http.Request) (string, error) {
  resp, err := s.c.CreateChatCompletion(ctx, openai.ChatCompletionRequest{Model: openai.GPT4o, Messages: []openai.Message{{Role: "user"}}})
  if err != nil { return "", err }
  exec.Command("sh", "-c", resp.Choices[0].Message.Content)
  q := fmt.Sprintf("a %s", resp)
  return q, nil
}
func main() { http.HandleFunc("/chat", func(w http.ResponseWriter, r *http.Request) { go run(r) }) }
"""


def test_go() -> None:
    found = module("go", GO)
    assert not found.errors
    assert {f.name for f in found.functions} == {"", "S.chat", "main", "main.HandleFunc@15"}
    one = call("go", GO, "CreateChatCompletion")
    model = argument(one, "Model")
    assert model is not None and model.text == "github.com/sashabaranov/go-openai.GPT4o"
    assert call("go", GO, "Command").parts[2].text == "resp.Choices[].Message.Content"
    assert found.classes[0].body[0].targets == ("c",)


@pytest.mark.parametrize(
    ("path", "name"),
    [("github.com/a/go-openai", "openai"), ("x/y/v2", "y"), ("gopkg.in/z.v3", "z"), ("net/http", "http")],
)
def test_go_package_names(path: str, name: str) -> None:
    assert package_name(path) == name


HOSTILE = [b"(" * 30_000, b"x = " + b"1+" * 20_000 + b"1", b"x" + b".a()" * 20_000, b"{" * 30_000, b"`${" * 10_000, b"a?b:" * 10_000, b"if (a) {} else " * 5_000, b"\0" * 2_000, b"<a" * 10_000, b'"' * 30_001, b"\xff\xfe\x80" * 5_000, b"x=>" * 10_000, b"@a\n" * 5_000, b"class A {" * 2_000, b"func f() {" * 2_000, b"'\\ud800\\u{110000}\\x'" * 100]  # fmt: skip


@pytest.mark.parametrize("kind", list(SUFFIX))
def test_hostile_files_give_a_module(kind: str) -> None:
    for data in HOSTILE:
        lines = b"\n".join(data[i : i + 200] for i in range(0, len(data), 200))
        found = module(kind, lines[:40_000])
        assert found.language in (kind, "javascript", "typescript") and len(found.errors) <= 30


SAMPLES = {"javascript": 'import a, {b as c} from "m"; const {x, y: [z] = 1} = await require("q"); class A extends B { static f = () => { return `a${x}` } }; for (const k of a) k?.j; export default <A b={c}>{d}</A>;', "java": JAVA, "kotlin": KOTLIN, "go": GO}  # fmt: skip
SAMPLES["typescript"] = SAMPLES["javascript"].replace("<A b={c}>{d}</A>", "x as any")


@given(st.sampled_from(list(SAMPLES)), st.integers(0, 600), st.integers(0, 40), st.binary(max_size=12))
@settings(max_examples=250, deadline=None)
def test_damaged_files_never_raise(kind: str, at: int, cut: int, put: bytes) -> None:
    data = SAMPLES[kind].encode()
    at %= len(data)
    module(kind, data[:at] + put + data[at + cut :])


@given(st.sampled_from(list(SAMPLES)), st.binary(max_size=300))
@settings(max_examples=150, deadline=None)
def test_junk_never_raises(kind: str, data: bytes) -> None:
    module(kind, data)
