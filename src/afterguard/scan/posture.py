"""Which files that name no AI the checks still have to see: settings that open something, and data that trains something.

In: a Source of an application. Out: yes or no, from the path or one native scan. Code is judged by what it imports, not here; a
yes promises nothing and costs one parse.
"""

from __future__ import annotations

from functools import cache

from afterguard.detect.prefilter import Pattern, Prefilter
from afterguard.model import Source
from afterguard.scan.pii_in_training_data import is_training

SETTINGS = (
    r"public[-_]?read|allUsers|allAuthenticatedUsers|container_access_type|(block_?public_?(acls|policy))|authenticated-read",
    r"allow_?(blob|nested_items).{0,20}public|anonymous set",
    r"(log|include)-(prompt|completion)",
    r"(OPENAI|LITELLM|ANTHROPIC)_LOG|_TRACING(_V2)?\b|CAPTURE_MESSAGE_CONTENT|TRACE_CONTENT",
    r"(AdministratorAccess|PowerUserAccess)\b",
)
"""Settings by which storage, rights or logs are opened; each check still decides whether the file is about AI."""
_STRUCTURED = ("yaml", "json", "toml", "hcl", "env", "ini", "script")


def is_worth(source: Source) -> bool:
    """Whether a check could find something in a file that is no code and names no AI."""
    if source.kind in ("csv", "json", "log") and is_training(source.path, source.kind, source.data):
        return True
    return source.kind in _STRUCTURED and bool(_prefilter().scan(source.data))


@cache
def _prefilter() -> Prefilter:
    return Prefilter([Pattern("setting", text, ignore_case=True, once=True) for text in SETTINGS])
