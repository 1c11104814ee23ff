"""Numbers, times, places and kinds in words a person reads; one spelling for every format.

In: values of the model. Out: short plain text. It does not escape: names and paths still pass through `safe` or the
template's escaping afterwards.
"""

from __future__ import annotations

from datetime import UTC, datetime

KINDS = {
    "provider": ("Model provider", "Model providers"),
    "model": ("Model", "Models"),
    "embedding_model": ("Embedding model", "Embedding models"),
    "framework": ("Framework", "Frameworks"),
    "agent": ("Agent", "Agents"),
    "tool": ("Tool", "Tools"),
    "mcp_server": ("MCP server", "MCP servers"),
    "vector_store": ("Vector store", "Vector stores"),
    "dataset": ("Dataset", "Datasets"),
    "prompt": ("Prompt", "Prompts"),
    "inference_server": ("Inference server", "Inference servers"),
    "cloud_ai_service": ("Cloud AI service", "Cloud AI services"),
    "model_artifact": ("Model file", "Model files"),
    "secret_reference": ("Secret reference", "Secret references"),
    "ai_endpoint": ("AI endpoint", "AI endpoints"),
}
GRADES = {
    "A": "own telemetry",
    "B": "claims or regulatory data",
    "C": "survey",
    "D": "press or vendor",
    "owner": "told by the owner",
}
SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£"}


def kind(name: str, number: int = 1) -> str:
    """An asset kind for a heading."""
    one, many = KINDS.get(name, (plain(name).capitalize(), plain(name).capitalize()))
    return one if number == 1 else many


def plain(slug: str) -> str:
    """A fixed word of the model with blanks: not_available -> not available."""
    return slug.replace("_", " ").replace("-", " ")


def number(value: int) -> str:
    """An integer with thousands separators."""
    return f"{value:,}"


def count(value: int, noun: str) -> str:
    """`1 finding`, `12,400 exchanges`."""
    return f"{value:,} {noun if value == 1 else noun + 's'}"


def place(path: str, line: int) -> str:
    """path:line, or the path alone where lines make no sense."""
    return f"{path}:{line}" if line > 0 else path


def moment(seconds: float | None) -> str:
    """A UTC time to the minute; "unknown" for none or one no calendar has."""
    if seconds is None:
        return "unknown"
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError):
        return "unknown"


def iso(seconds: float | None) -> str:
    """RFC 3339 in UTC to the second; "" for none or one no calendar has."""
    if seconds is None:
        return ""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return ""


def lasting(seconds: float | None) -> str:
    """A length of time with two units at most: 3 d 4 h, 12 min, 8 s."""
    if seconds is None:
        return "unknown"
    left = round(max(0.0, seconds))
    parts: list[str] = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if left >= size or (unit == "s" and not parts):
            parts.append(f"{left // size:,} {unit}")
            left %= size
        if len(parts) == 2 or (parts and left < size // 60):
            break
    return " ".join(parts)


def span(first: float | None, last: float | None) -> str:
    """First and last sighting with the dwell time between them."""
    if first is None or last is None:
        return "Time not logged"
    if last <= first:
        return moment(first)
    return f"{moment(first)} to {moment(last)}, dwell {lasting(last - first)}"


def money(value: float, currency: str = "USD", *, digits: int = 3) -> str:
    """An amount rounded to significant digits with a unit: $1.2 million, €480,000, $0."""
    symbol = SYMBOLS.get(currency, currency[:8] + " ")
    if value != value or value in (float("inf"), float("-inf")):
        return "unknown"
    sign, size = ("−" if value < 0 else ""), abs(value)
    if size < 0.5:
        return f"{symbol}0"
    rounded = float(f"{size:.{digits}g}")
    if rounded >= 1e15:
        return f"over {sign}{symbol}1,000 trillion"
    for unit, word in ((1e12, " trillion"), (1e9, " billion"), (1e6, " million")):
        if rounded >= unit:
            return f"{sign}{symbol}{rounded / unit:.{digits}g}{word}"
    return f"{sign}{symbol}{rounded:,.0f}"


def between(low: float, high: float, currency: str = "USD", *, digits: int = 2) -> str:
    """A range with the same rounding on both ends."""
    left, right = money(low, currency, digits=digits), money(high, currency, digits=digits)
    return left if left == right else f"{left} to {right}"


def percent(share: float) -> str:
    """A probability for a person: under 1 %, 7 %, 34 %, over 99 %."""
    if share != share:
        return "unknown"
    if share <= 0:
        return "0 %"
    if share < 0.01:
        return "under 1 %"
    if share > 0.99:
        return "over 99 %"
    return f"{share * 100:.0f} %"


def size(value: int) -> str:
    """Bytes with a binary unit."""
    amount = float(value)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            return f"{amount:,.0f} {unit}" if unit == "B" else f"{amount:,.1f} {unit}"
        amount /= 1024
    return f"{value} B"


def day(seconds: float | None) -> str:
    """A UTC date in words: 9 November 2026; "unknown" for none or one no calendar has."""
    if seconds is None:
        return "unknown"
    try:
        at = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return "unknown"
    return f"{at.day} {at:%B %Y}"


def rate(value: float) -> str:
    """Events a year with two digits: 0.02, 2.1, 140."""
    if value != value:
        return "unknown"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def grade(letter: str) -> str:
    """What an evidence grade means: `A, own telemetry`."""
    meaning = GRADES.get(letter, "")
    return meaning if letter == "owner" else f"{letter}, {meaning}" if meaning else letter


def sentence(text: str) -> str:
    """The text with a capital first letter and an end mark; "" stays ""."""
    text = text.strip()
    return f"{text[0].upper()}{text[1:]}" + ("" if text[-1] in ".?!…" else ".") if text else ""
