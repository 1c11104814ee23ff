"""Which files are worth parsing: one native scan over the bytes for any name that AI code or a risky sink cannot do without.

In: the bytes of a source file. Out: yes or no. A yes promises nothing; a no means that neither discovery nor a check could
find something, since each needs one of these names in the file.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from afterguard.catalog import load
from afterguard.detect.prefilter import Pattern, Prefilter

# Sinks of model output and switches that checks look for, in any language. Word boundaries keep `retrieval(` out.
SINKS = (
    r"\b(eval|exec|execfile|execSync|execFile|spawnSync|popen|Popen|check_output|check_call)\s*\(",
    r"\bos\.(system|popen|exec)",
    r"\bsubprocess\b",
    r"child_process",
    r"\bshell\s*[=:]\s*(True|true)",
    r"innerHTML|dangerouslySetInnerHTML|outerHTML|insertAdjacentHTML|document\.write|v-html|bypassSecurityTrust",
    r"new Function\s*\(",
    r"render_template_string|Markup\(|mark_safe|\|\s*safe",
    r"Runtime\.getRuntime|ProcessBuilder|ScriptEngine",
    r"exec\.Command|template\.HTML\(",
    r"allow_dangerous|trust_remote_code|allow_delegation|allow_code_execution|weights_only|allow_pickle",
    r"\b(pickle|cPickle|dill|joblib|cloudpickle|marshal|shelve)\b",
    r"yaml\.(unsafe_load|load)\b",
)
# Handlers of web requests, in any language: such a file matters when it, or what it imports, uses AI.
ROUTES = (
    r"\.(get|post|put|route|websocket|api_route|HandleFunc|Handle)\(\s*[\"'`]/",
    r"@(Get|Post|Put|Request)Mapping|@(Controller|Post|Get)\(|@Path\(",
    r"export (default )?(async )?function (GET|POST|PUT|handler)\b|export const (GET|POST|handler)\b",
    r"defineEventHandler|RequestHandler\b|APIView\b|MethodView\b|HttpServlet\b|urlpatterns",
)
# Words of AI code that uses no library of the catalog: raw HTTP, own wrappers, predictive models. Matched without case.
WORDS = (
    r"chat/completions|/v1/(completions|embeddings|messages|responses|models)|generateContent|/api/(generate|chat|embed)\b",
    r"invoke_?(model|endpoint|agent)|bedrock|sagemaker|vertex_?ai|aiplatform",
    r"system_?prompt|prompt_?template|max_?tokens|tool_?calls?\b|tool_?choice|function_call\b|input_?schema",
    r"\btype['\"]?\s*[:=]\s*['\"]function['\"]",
    r"\bllms?\b|\bgpt\b|_llm\b|\bllm_|embeddings?\b|vector_?store|\bmcp\b|mcp_?server|language_?model",
    r"\bcompletions?\b.{0,20}\bcreate\b|inference_?(server|session|endpoint|client)",
    r"load_model|from_pretrained|save_pretrained|predict_proba|train_test_split|load_dataset|\.pkl\b|\.joblib\b|\.onnx\b|\.gguf\b|\.safetensors\b",
    r"[\"'`]\s*you are\b|you are an? |[a-z]_?prompt\b|prompts?\s*[:=]|\.(pte|pth|h5|tflite|caffemodel|ckpt)\b",
    r"api_?base|openai|anthropic|langchain|hugging_?face|claude|gemini|mistral|\bllama|deepseek|ollama|\bqwen",
)


class Worth(NamedTuple):
    """Why a source file is worth parsing: it names AI, a place where model output could do harm, or a web route."""

    ai: bool
    sink: bool
    route: bool = False


def worth(data: bytes) -> Worth:
    """What a source file holds that matters, in one pass at about a gigabyte a second."""
    names = {match.name for match in _prefilter().scan(data)}
    return Worth(bool(names - {"sink", "route"}), "sink" in names, "route" in names)


def worth_parsing(data: bytes) -> bool:
    """Whether a source file holds a name that matters by itself: AI or a sink."""
    return any(match.name != "route" for match in _prefilter().scan(data))


def says_ai(data: bytes) -> bool:
    """Whether the file holds a name of AI, sinks left aside: without one discovery finds nothing."""
    return any(match.name not in ("sink", "route") for match in _prefilter().scan(data))


@cache
def _prefilter() -> Prefilter:
    patterns = [Pattern("sink", text, once=True) for text in SINKS]
    patterns += [Pattern("route", text, once=True) for text in ROUTES]
    patterns += [Pattern("word", text, ignore_case=True, once=True) for text in WORDS]
    patterns += [Pattern("host", re.escape(text), once=True) for text in _hosts()]
    patterns += [Pattern("import", text, once=True) for text in _imports()]
    patterns += [Pattern("key", re.escape(text), once=True) for text in _keys()]
    return Prefilter(patterns)


def _imports() -> list[str]:
    """Expressions for import names; plain ones where the name says enough, since those are the cheapest to look for."""
    out: set[str] = set()
    common = load("signals/products")["common_words"]
    for row in load("signals/products")["products"]:
        for name in row.get("python", ()):
            head, _, rest = name.partition(".")
            if head in ("google", "azure", "livekit", "pyspark") and rest:
                out.add(rf"\b{head}\.{re.escape(rest.split('.')[0])}\b|from {head} import {rest.split('.')[0]}")
            elif head in common:
                out.add(rf"\b(import|from)\s+{head}\b|['\"]{head}['\"]")
            else:
                out.add(rf"\b{head}\b")
        for name in row.get("npm", ()):
            plain = name.rstrip("*")
            out.add(rf"['\"]{re.escape(plain)}" + ("" if plain.startswith("@") else r"['\"/]"))
        out.update(re.escape(name) for name in row.get("go", ()))
        out.update(re.escape(name) if name.count(".") else rf"\bimport\s+{name}\b" for name in row.get("java", ()))
    return sorted(out)


def _hosts() -> list[str]:
    """The longest fixed part of every provider, gateway and vector store host."""
    out = set()
    for row in load("signals/hosts")["hosts"]:
        if row["kind"] in ("provider", "gateway", "vector_store") and "path" not in row:
            out.add(max(row["match"].split("*"), key=len).strip("."))
    return sorted(out - {"amazonaws.com", "api.aws"})


def _keys() -> list[str]:
    """The longest fixed part of every variable name that says AI alone."""
    out = set()
    for row in load("signals/environment")["variables"]:
        fixed = max(row["match"].split("*"), key=len)
        if not row.get("weak") and len(fixed) >= 5:
            out.add(fixed)
    return sorted(out)
