"""Untrusted text made fit to print: for a terminal, a web page, Markdown, a spreadsheet cell.

In: text that somebody outside may have written. Out: text that cannot move a cursor, reorder a line, hide characters, become
markup or become a formula. It does not redact secrets and does not judge; HTML escaping itself is the template engine's.
"""

from __future__ import annotations

import re

ESCAPE = re.compile(
    r"\x1b(?:\[[0-?]{0,64}[ -/]{0,16}[@-~]|\][^\x07\x1b\n]{0,2048}(?:\x07|\x1b\\)|[PX^_][^\x1b\n]{0,2048}\x1b\\|[()][0-9A-Z])"
)
UNSEEN = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\xad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b-\\u200f"
    "\\u2028-\\u202e\\u2060-\\u206f\\u3164\\ufe00-\\ufe0d\\ufeff\\uffa0\\ufff9-\\ufffb\\ufffe\\uffff\\ud800-\\udfff"
    "\\U0001bca0-\\U0001bca3\\U0001d173-\\U0001d17a\\U000e0000-\\U000e0fff]"
)
BLANKS = re.compile(r"\s+")
MARKDOWN = re.compile(r"([\\`*_\[\]<>|~&$])")
LEADING = re.compile(r"^(\d{1,9}(?=[.)](?: |$))|(?=[-+=#]))(.)")
LINKED = re.compile(r"@|://|www\.|#\d|GH-\d|javascript:|mailto:|xmpp:", re.IGNORECASE)
FORMULA = ("=", "+", "-", "@")


def encodable(text: str) -> str:
    """The text with what UTF-8 cannot hold (lone surrogates, as in odd file names) written as \\udcXX."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def terminal(text: str) -> str:
    """The text without terminal escapes, control, bidi, zero-width and tag characters; newlines and tabs stay."""
    return UNSEEN.sub("", ESCAPE.sub("", text))


def visible(text: str) -> str:
    """The text with every character a reader could not see replaced by its code point, as in ⟨U+202E⟩."""
    return UNSEEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text)


def line(text: str, limit: int = 0) -> str:
    """`terminal` on one line, runs of blanks joined, cut with … after `limit` characters (0: not cut)."""
    out = BLANKS.sub(" ", terminal(text)).strip()
    return _short(out, limit)


def markdown(text: str, limit: int = 0) -> str:
    """One line of visible text that Markdown prints as it stands: no link, image, HTML, heading, list, table or math.

    What a site would turn into a link or a mention after rendering (an address, an @name, a #number) comes as a code span,
    where sites leave it alone. A leading list or heading mark is escaped too, so that it can start a line.
    """
    out = _short(BLANKS.sub(" ", visible(text)).strip(), limit)
    if LINKED.search(out):
        return code_span(out)
    out = MARKDOWN.sub(r"\\\1", out)
    return LEADING.sub(r"\1\\\2", out)


def code_span(text: str, limit: int = 0) -> str:
    """One line of visible text as a code span (CommonMark 6.1); a pipe becomes ¦ so that no table is broken by it."""
    out = _short(BLANKS.sub(" ", visible(text)).strip(), limit).replace("|", "¦")
    if not out:
        return ""
    fence = "`" * (max((len(run) for run in re.findall("`+", out)), default=0) + 1)
    pad = " " if out.startswith("`") or out.endswith("`") else ""
    return f"{fence}{pad}{out}{pad}{fence}"


def _short(text: str, limit: int) -> str:
    return text if not limit or len(text) <= limit else text[: max(1, limit - 1)] + "…"


def cell(text: str) -> str:
    """A value for a CSV cell that no spreadsheet takes for a formula (a leading apostrophe where it would)."""
    out = visible(text)
    return "'" + out if out.startswith("\t") or out.lstrip().startswith(FORMULA) else out
