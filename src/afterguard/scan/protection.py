"""Signs in source text that a caller is identified or limited.

In: source lines. Out: patterns for one handler's text, and whether a file registers protection for the whole application. Words are
evidence that somebody thought of it, not proof that it holds.
"""

from __future__ import annotations

import re

from afterguard.scan.source_text import code_of

AUTH = re.compile(
    r"login_?required|requires?_?(?:auth|login|user|token|api_?key|role|scope|session)|jwt|(?<!un)auth(?:entic|oriz|_|\b|[A-Z])"
    r"|current_?user|verify_?(?:token|api|key|user|session|jwt|request|signature|cred)|check_?(?:token|api_?key|session|permission|user|access)"
    r"|validate_?(?:token|api_?key|session)|api_?key_?(?:header|auth|guard|check)|x-api-key|HTTPBearer|HTTPBasic|OAuth2|APIKeyHeader|Security\("
    r"|Depends\(\s*[\w.]*(?:user|principal|identity|caller)\w*|getServerSession|getSession|clerk|passport|Principal|PreAuthorize|Secured|RolesAllowed|compare_digest|timingSafeEqual"
    r"|session\[|session\.get|req\.user|request\.user|ensureLoggedIn|isAuthenticated|require_?admin|protect\b|bearer|get_user|withAuth|useAuth|Guard\b",
    re.IGNORECASE,
)
OWN_KEYS = re.compile(
    r"(?i)(?:openai|anthropic|azure|llm|model|provider|client|gemini|mistral|cohere|groq|hf)\w*[._(\[\"'].{0,40}?(?:api_?key|auth)|api_?key\s*[:=]|[\"']authorization[\"']\s*:\s*(?:f?[\"'`]|[`])bearer|headers\s*[:=]"
)
LIMIT = re.compile(
    r"rate_?-?limit|limiter|throttl|bucket4j|tollbooth|slowapi|limit_req|\bquota|token_?bucket|leaky|x/time/rate|RateLimit|usage_?plan",
    re.IGNORECASE,
)
_WIDE = re.compile(
    r"add_middleware|@\w+\.middleware|before_request|\.use\s*\(|dependencies\s*=|SecurityFilterChain|addHook|preHandler|\.Use\(|MIDDLEWARE|middleware\s*[:=]|WebSecurity|UseGuards|matcher"
    r"|default_limits|Limiter\(|addFilter|DEFAULT_AUTHENTICATION|DEFAULT_PERMISSION|DEFAULT_THROTTLE|auth\s*=|wrap\w*\("
)


def app_wide(lines: list[str]) -> tuple[bool, bool]:
    """Whether a file registers (authentication, a rate limit) for every route."""
    auth = limit = False
    if not _WIDE.search("\n".join(lines)):
        return auth, limit
    for number, text in enumerate(lines):
        if _WIDE.search(text[:2000]) and _WIDE.search(code_of(text)):
            near = " ".join(code_of(row) for row in lines[number : number + 2])
            if re.search(r"(?i)cors", near):
                continue
            auth = auth or bool(AUTH.search(near))
            limit = limit or bool(LIMIT.search(near))
    return auth, limit
