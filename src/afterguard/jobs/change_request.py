"""The change request that would log prompts, for an application whose prompts were never logged.

In: what the log did show. Out: Markdown a team can paste into its change system: what to log, how for four common stacks, what it costs,
how long it is kept, who may read it. It changes nothing itself.
"""

from __future__ import annotations

from collections.abc import Sequence

KILOBYTES = 6.0
"""Kilobytes an exchange takes as JSON, the middle of chat applications without retrieval; retrieval takes 20 to 60."""
PACKED = 0.2
STORE_DOLLARS = 0.023
"""US dollars a gigabyte and month, object storage of the large clouds, list price 2026."""
INDEX_DOLLARS = 0.5
"""US dollars a gigabyte taken in by a hosted log index, list price 2026; the reason to prefer object storage."""

FIELDS = """| field | why |
|---|---|
| `id`, `time` (UTC, with zone) | to order and to find an exchange again |
| `user` as a keyed hash, `session` or `conversation` | to count identities without naming them |
| `key` name or hash, `client`, `address` | to see a key used elsewhere |
| `model`, `provider`, request parameters | to see model changes |
| `messages` as sent: system, user, tool results and documents, each with its origin | injection arrives in tool results |
| reply text, `tool_calls` with arguments, finish reason | leaks leave here; actions happen here |
| tokens in and out, cost, status, latency | burst and cost detection |"""

RECIPES = """### OpenAI SDK (Python or JavaScript)
Wrap the client once, where it is made: after each `chat.completions.create` or `responses.create`, write one JSON line with the fields
above. For streams, write when the stream ends. Alternatively send requests with `store: true` and `metadata` and export them; then the
provider keeps the originals, and the retention below does not hold.

### LiteLLM
In `config.yaml`, under `litellm_settings`, set `success_callback: ["s3"]` and `failure_callback: ["s3"]` with a bucket of your own (or a custom
callback that writes JSON lines); leave `turn_off_message_logging` at `false`. `afterguard lookback` reads the logging payload as written.

### Amazon Bedrock
Turn on model invocation logging for the account and region (console: Settings; API: `PutModelInvocationLoggingConfiguration`) with text data
delivery to S3, server-side encryption with a key of your own, and a bucket policy that names the security team only.

### OpenTelemetry
Set `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=true` (with `OTEL_SEMCONV_STABILITY_OPT_IN=gen_ai_latest_experimental` where the
instrumentation asks for it) and route spans with `gen_ai.*` attributes to a file or object-storage exporter of their own, not to the
general trace store that everyone reads."""


def change_request(
    app: str, *, seen: int, blind: int, days: float, protocols: Sequence[str] = (), models: Sequence[str] = ()
) -> str:
    """Markdown. `seen` events of which `blind` hold neither prompt nor reply, over `days` days (0 where unknown).

    `seen` 0: no recorded traffic was given at all.
    """
    gigabytes = 1_000_000 * KILOBYTES * PACKED / 1_000_000
    rate = seen / days if days >= 0.5 else 0.0
    monthly = (
        f"At the {rate:,.0f} exchanges a day seen here that is {rate * 30 / 1e6 * gigabytes:,.2f} GB a month."
        if rate
        else ""
    )
    said = ", ".join(_plain(word) for word in [*protocols, *models][:8]) or "not recorded"
    why = (
        f"The look-back saw {seen:,} exchanges and could judge what was said in {seen - blind:,} of them: prompts or replies were\n"
        f"not recorded (seen: {said})."
        if seen
        else f"No recorded prompts were given (models known: {said})."
    )
    return f"""# Change request: log what {_plain(app)} says to its model

**Why.** {why} Whether data leaked, or the model was led astray, cannot be answered for that time, now or later.

**What to log**, one JSON line an exchange:

{FIELDS}

## How

{RECIPES}

## What it costs, per million exchanges
About {KILOBYTES:.0f} kB an exchange, {1_000_000 * KILOBYTES / 1e6:,.0f} GB raw, {gigabytes:,.1f} GB compressed (zstd): {gigabytes * STORE_DOLLARS:,.2f} US dollars
a month in object storage; {1_000_000 * KILOBYTES / 1e6 * INDEX_DOLLARS:,.0f} US dollars once if the same lines go through a hosted log index instead. Retrieval with long
documents multiplies this by up to ten. {monthly}
Latency: write after the reply has been sent; nothing is added to the user's wait.

## Retention and privacy
- Keep originals 30 days, encrypted with a key of this application; keep detector results and hashes 13 months. Longer needs a reason.
- Purpose: detection and investigation of security incidents. Not: performance review, training, marketing.
- Readers: the incident team, each access logged. Users are stored as keyed hashes; naming one is a separate, logged step.
- Tell users in the privacy notice; in the EU, check the record of processing and the works council where staff use the application.
- Never log: authorization headers, raw API keys, full card numbers. Mask before writing, not after.

## How to check it
Send one test exchange, then run `afterguard lookback` on the new file: it must count one exchange and no `prompt_not_logged`.
"""


def _plain(word: str) -> str:
    """A name from a log, made safe for Markdown."""
    return "".join(c for c in word[:60] if c.isalnum() or c in " ._:/-") or "unnamed"
