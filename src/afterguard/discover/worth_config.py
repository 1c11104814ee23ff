"""Which configuration, prompt and infrastructure files are worth parsing though no line of them names an AI library.

In: a Source. Out: yes or no: by where it stands (a client's file, a prompts folder), or by one native scan for the names of
the catalog's images, cluster kinds, cloud resources and pipeline steps. Only for kinds of files that finders of
infrastructure read; code is judged by `worth`.
"""

from __future__ import annotations

import re
from functools import cache

from afterguard.catalog import load
from afterguard.detect.prefilter import Pattern, Prefilter
from afterguard.discover import agent_config, prompt_files
from afterguard.model import Source

_STRUCTURED = {"yaml", "json", "toml", "hcl", "dockerfile", "env", "ini", "script"}
_NAMES = re.compile(r"(?i)(^|/)(modelfile[\w.-]*|mlmodel|mlproject|langgraph\.json|jenkinsfile[\w.-]*|[\w.-]+\.bicep)$")
# Words of configuration for AI that need no name of a product.
_WORDS = (
    r"mcpServers|mcp_servers|context_servers|modelContextProtocol",
    r"--(model|model-id|model-path|served-model-name|embedding-model)\b",
    r"\b(backstory|system_message|systemMessage|pre_prompt|instructions?)\b['\"]?\s*:",
    r"\b(nvidia|amd|habana|google)\.[a-z]+/(gpu|gaudi|tpu|mig)",
    r"\bmodel(s|_name|_id|Id|Name)?['\"]?\s*[:=]",
    r"storageUri|modelUri|model_data_url|ModelDataUrl",
)


def is_worth(source: Source) -> bool:
    """Whether the finders of infrastructure could find something in the file."""
    if _NAMES.search(source.path) or agent_config.client(source.path) is not None:
        return True
    if source.kind == "text" and source.data.startswith(b"tree\nversion=v"):
        return True  # a LightGBM model is text
    if source.kind in ("text", "yaml") and prompt_files.may_be(source.path):
        return True
    return source.kind in _STRUCTURED and bool(_prefilter().scan(source.data))


@cache
def _prefilter() -> Prefilter:
    words = {max(row["match"].replace("/", "*").split("*"), key=len) for row in load("signals/images")["images"]}
    words |= {row["words"].split()[0] for row in load("signals/images")["commands"]}
    words |= {row["kind"] for row in load("signals/kubernetes")["kinds"] if len(row["kind"]) > 5}
    words |= {row["group"] for row in load("signals/kubernetes")["kinds"]}
    for section in ("terraform", "cloudformation", "azure"):
        words |= {row["match"].split("*")[0] for row in load("signals/cloud_resources")[section]}
    words |= set(load("signals/cloud_resources")["permissions"])
    words |= {row["match"].rstrip("/") for row in load("signals/actions")["actions"]}
    words |= {row["match"] for row in load("signals/actions")["tools"]}
    plain = sorted(word.strip(" *.-") for word in words if len(word.strip(" *.-")) >= 4)
    patterns = [Pattern("name", re.escape(word), ignore_case=True, once=True) for word in dict.fromkeys(plain)]
    patterns += [Pattern("word", text, once=True) for text in _WORDS]
    return Prefilter(patterns)
