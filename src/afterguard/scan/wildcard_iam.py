"""Rights on AI services without bounds: every action, every role, in Terraform, CloudFormation, CDK, Google Cloud and Azure.

In: infrastructure code. Out: a finding at the action or role. A statement that denies, or that names its actions, is left alone.
Every action on everything counts where the statement, its resource or the application is about AI.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from afterguard.code.document import Node, walk
from afterguard.code.parse import Parsed
from afterguard.code.syntax import Expr, calls
from afterguard.code.syntax import walk as inside
from afterguard.model import Confidence, Finding, Severity
from afterguard.scan.check import CODE, Check, Context
from afterguard.scan.recognise import fold

CHECK = Check(
    id="wildcard-iam",
    title="Rights on AI services are without bounds",
    severity=Severity.high,
    taxonomies=("LLM06:2025", "LLM03:2026", "ASI03:2026", "AML.T0053", "CWE-732", "CWE-269"),
    why="An application or agent that is steered can then train, delete, publish or pay for anything the service offers.",
    fix="List the few actions that are needed (bedrock:InvokeModel) on the models and endpoints that are used.",
    kinds=("hcl", "yaml", "json", *CODE),
)
SERVICES = (
    "bedrock",
    "bedrock-agent",
    "bedrock-agentcore",
    "sagemaker",
    "comprehend",
    "kendra",
    "lex",
    "rekognition",
    "q",
    "qbusiness",
    "aoss",
    "textract",
    "transcribe",
    "polly",
    "personalize",
    "forecast",
    "frauddetector",
)
_AI = re.compile(
    r"bedrock|sagemaker|llm|genai|gen[-_]ai|chatbot|assistant|agents?|(?:^|[-_.])ai(?:$|[-_.])|(?:^|[-_.])ml(?:$|[-_.])|inference|rag\b|vertex|openai|model",
    re.IGNORECASE,
)
_ROLES = {
    "roles/owner",
    "roles/editor",
    "roles/aiplatform.admin",
    "roles/ml.admin",
    "roles/notebooks.admin",
    "roles/discoveryengine.admin",
}
_AZURE = {
    "owner",
    "contributor",
    "cognitive services contributor",
    "azure ai developer administrator",
    "user access administrator",
}
_MANAGED = re.compile(
    r"(?:AmazonBedrockFullAccess|AmazonSageMakerFullAccess|ComprehendFullAccess|AmazonKendraFullAccess|AdministratorAccess|PowerUserAccess)$"
)


def check(parsed: Parsed, context: Context) -> Iterator[Finding]:
    """Findings for rights without bounds."""
    if parsed.document is not None:
        for root in parsed.document.roots:
            for path, node in walk(root):
                yield from _statement(parsed, context, path, node)
                yield from _roles(parsed, context, path, node)
    elif parsed.module is not None and (
        b"bedrock" in parsed.source.data
        or b"sagemaker" in parsed.source.data
        or b"PolicyStatement" in parsed.source.data
    ):
        yield from _in_code(parsed, context)


def _statement(parsed: Parsed, context: Context, path: tuple[str, ...], node: Node) -> Iterator[Finding]:
    if node.kind != "map":
        return
    actions = next(
        (held for key in ("Action", "actions", "Actions", "action") if (held := node.get(key)) is not None), None
    )
    if actions is None or (node.string("Effect") or node.string("effect") or "Allow") != "Allow":
        return
    if node.get("Effect") is None and node.get("resources") is None and node.get("Resource") is None:
        return
    words = actions.items if actions.kind == "list" else (actions,)
    services = {word.text.split(":")[0] for word in words}
    about = bool(services & set(SERVICES)) or bool(_AI.search("/".join(path))) or _names_ai(node)
    for word in words:
        service = _unbounded(word.text)
        if service and (service != "*" or about):
            yield context.finding(CHECK, parsed, word.line, _says(word.text), confidence=Confidence.high)


def _names_ai(node: Node) -> bool:
    held = node.get("Resource") or node.get("resources")
    texts = [
        one.text for one in (held.items if held is not None and held.kind == "list" else (held,)) if one is not None
    ]
    return any(f":{service}:" in text for text in texts for service in SERVICES)


def _unbounded(action: str) -> str:
    """The service whose every action is allowed, "*" for all services, "" for a bounded action."""
    if action in ("*", "*:*"):
        return "*"
    service, _, rest = action.lower().partition(":")
    return service if rest == "*" and service in SERVICES else ""


def _says(action: str) -> str:
    return f"The statement allows every action ({action[:60]})."


def _roles(parsed: Parsed, context: Context, path: tuple[str, ...], node: Node) -> Iterator[Finding]:
    if node.kind in ("map", "list") or not path:
        return
    last = path[-1].lower() if not path[-1].isdigit() else (path[-2].lower() if len(path) > 1 else "")
    where = "/".join(path)
    ai = bool(_AI.search(where)) or context.has_ai
    if (
        last == "role"
        and node.text in _ROLES
        and (
            "aiplatform" in node.text
            or "ml." in node.text
            or "discovery" in node.text
            or "notebooks" in node.text
            or ai
        )
    ):
        yield context.finding(
            CHECK,
            parsed,
            node.line,
            f"{node.text} gives every right on the project's AI services.",
            confidence=Confidence.medium,
        )
    elif last == "role_definition_name" and node.text.lower() in _AZURE and (ai or "cognitive" in node.text.lower()):
        yield context.finding(
            CHECK,
            parsed,
            node.line,
            f"The role {node.text} is not bounded to calling a model.",
            confidence=Confidence.medium,
        )
    elif last in ("policy_arn", "managedpolicyarns", "managed_policy_arns") and _is_wide(node.text, where):
        message = f"The managed policy {node.text.rsplit('/', 1)[-1]} allows every action."
        yield context.finding(CHECK, parsed, node.line, message)


def _is_wide(policy: str, where: str) -> bool:
    return bool(_MANAGED.search(policy)) and ("Bedrock" in policy or "SageMaker" in policy or bool(_AI.search(where)))


def _in_code(parsed: Parsed, context: Context) -> Iterator[Finding]:
    """CDK, Pulumi and SDK calls."""
    assert parsed.module is not None
    for function, call in calls(parsed.module):
        for one in inside(call):
            for key, value in one.fields if one is call or one.kind == "map" else ():
                if fold(key) in ("actions", "action"):
                    yield from _words(parsed, context, value, function.name, call)


def _words(parsed: Parsed, context: Context, value: Expr, function: str, call: Expr) -> Iterator[Finding]:
    texts = [one for one in inside(value) if one.kind == "text"]
    about = any(one.text.split(":")[0] in SERVICES for one in texts) or bool(_AI.search(call.text))
    for one in texts:
        service = _unbounded(one.text)
        if service and (service != "*" or about):
            yield context.finding(CHECK, parsed, one.line, _says(one.text), function=function)
