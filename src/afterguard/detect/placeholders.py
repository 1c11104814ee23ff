"""Reversible placeholders: a value leaves as `[EMAIL_7f3a9c2e]` and comes back as itself, in this conversation and no other.

In: values to hide, and text in which placeholders may stand. Out: placeholders, and text with the values back. A placeholder is a keyed
hash of application, conversation and value, so every worker makes the same one and a prompt's prefix stays the same. The values are
held here as they are, for one exchange, and nowhere else. It decides neither what is hidden nor who may see it again: a value
put back into a link or a call leaves the house.
"""

from __future__ import annotations

import hmac
import re
from collections import OrderedDict
from collections.abc import Iterator
from urllib.parse import quote

import msgspec

KINDS = {
    "email": "EMAIL",
    "phone": "PHONE",
    "payment_card": "CARD",
    "iban": "IBAN",
    "national_id": "PERSONID",
    "passport": "PERSONID",
    "us_ssn": "PERSONID",
    "uk_nino": "PERSONID",
    "de_steuer_id": "PERSONID",
    "fr_nir": "PERSONID",
    "es_dni": "PERSONID",
    "it_codice_fiscale": "PERSONID",
    "nl_bsn": "PERSONID",
    "be_rijksregister": "PERSONID",
    "pl_pesel": "PERSONID",
    "se_personnummer": "PERSONID",
    "br_cpf": "PERSONID",
    "in_aadhaar": "PERSONID",
    "ca_sin": "PERSONID",
    "secret": "SECRET",
    "name": "NAME",
    "address": "ADDRESS",
    "postal_address": "ADDRESS",
    "date_of_birth": "BIRTHDATE",
}
OTHER = "VALUE"
"""Prefix of a kind nobody named."""
SIZES = (8, 12, 16, 32)
"""Hex digits of a placeholder: the first length that no other value of this conversation has."""
VALUE_CAP = 8_192
"""Characters of a value that is kept; a longer one is hidden all the same and cannot come back."""
PREFIXES = "|".join(sorted({*KINDS.values(), OTHER}, key=len, reverse=True))
BLANKS = r"[ \u00a0]{0,2}"
OPENS = r"(?:\\{0,2}[\[({<\u3010\uff3b\u300c]|%5B|&#91;|&lbrack;)"
CLOSES = r"(?:\\{0,2}[\])}>\u3011\uff3d\u300d]|%5D|&#93;|&rbrack;)"
JOINS = r"(?:\\{0,2}[_-]|%5F|[ \u00a0])"
BARE = r"(?<![^\W_])"
"""No letter or digit before it: a word of its own."""
PATTERN = re.compile(
    rf"(?:(?P<open>{OPENS}{BLANKS})|{BARE})(?P<kind>{PREFIXES}){JOINS}"
    rf"(?P<hash>{'|'.join(f'[0-9a-f]{{{size}}}' for size in reversed(SIZES))})(?![0-9a-z])(?(open){BLANKS}{CLOSES})",
    re.IGNORECASE | re.ASCII,
)
"""A placeholder as a model may write it: other case, escaped, other brackets or none."""
LONGEST = 72
"""Characters of the longest way to write one."""
HALF = r"(?:\\{1,2}|%5?|&[#0-9a-z]{0,6})"
"""The first characters of an escaped bracket or line."""
BEGUN = "|".join(
    sorted({word[:end] for word in PREFIXES.split("|") for end in range(1, len(word) + 1)}, key=len, reverse=True)
)
TAIL = re.compile(
    rf"(?:{HALF}|{OPENS}{BLANKS}(?:{BEGUN})?|{BARE}(?:{BEGUN})"
    rf"|(?:{OPENS}{BLANKS}|{BARE})(?:{PREFIXES})(?:{HALF}|{JOINS}[0-9a-f]{{0,32}}(?:{BLANKS}{HALF}?)))\Z",
    re.IGNORECASE | re.ASCII,
)
STARTS = re.compile(
    rf"[\\%&\[({{<\u3010\uff3b\u300c]|{BARE}[{''.join({word[0] for word in BEGUN.split('|')})}]", re.I | re.A
)
"""Where TAIL can begin: it is tried there alone."""


class Vault:
    """Placeholders of one conversation and what they stand for: at most `limit` values, the least recently used forgotten first.

    `key` is the owner's secret; at least 16 bytes, or a placeholder could be tried out.
    """

    __slots__ = ("_by_value", "_forgotten", "_key", "_names", "_rows", "limit")

    def __init__(self, key: bytes, app: str, conversation: str, limit: int = 2_000) -> None:
        if len(key) < 16:
            raise ValueError("the key of placeholders needs at least 16 bytes")
        name = app.encode("utf-8", "surrogatepass")
        told = len(name).to_bytes(8, "big") + name + conversation.encode("utf-8", "surrogatepass")
        self._key = hmac.digest(key, b"afterguard.placeholder/1\0" + told, "sha256")
        self._rows: OrderedDict[str, str] = OrderedDict()
        """NAME_hash -> value."""
        self._by_value: dict[tuple[str, str], str] = {}
        self._names: dict[str, int] = {}
        """Hash -> how many rows have it: what a text is searched for before anything dearer."""
        self.limit = max(1, limit)
        self._forgotten: set[str] = set()

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def forgotten(self) -> int:
        """Placeholders whose values cannot come back: too many, or too long."""
        return len(self._forgotten)

    @property
    def pattern(self) -> re.Pattern[str]:
        """A whole placeholder in any form that `shown` understands."""
        return PATTERN

    def hide(self, kind: str, value: str) -> str:
        """The placeholder of a value. The same value has the same one for as long as the conversation lasts."""
        prefix = KINDS.get(kind, OTHER)
        known = self._by_value.get((prefix, value))
        if known is not None:
            self._rows.move_to_end(known)
            return f"[{known}]"
        name = self._free(prefix, value)
        if len(value) > VALUE_CAP:
            self._forgotten.add(name)
        elif name not in self._rows:
            self._keep(prefix, name, value)
        return f"[{name}]"

    def _free(self, prefix: str, value: str) -> str:
        digest = hmac.digest(self._key, value.encode("utf-8", "surrogatepass"), "sha256").hex()
        for size in SIZES:
            name = f"{prefix}_{digest[:size]}"
            if self._rows.get(name, value) == value:
                break
        return name

    def _keep(self, prefix: str, name: str, value: str) -> None:
        self._rows[name] = value
        self._forgotten.discard(name)
        self._by_value[prefix, value] = name
        short = name.rpartition("_")[2]
        self._names[short] = self._names.get(short, 0) + 1
        if len(self._rows) > self.limit:
            gone, was = self._rows.popitem(last=False)
            self._by_value.pop((gone.partition("_")[0], was), None)
            self._drop(gone.rpartition("_")[2])
            self._forgotten.add(gone)

    def _drop(self, short: str) -> None:
        left = self._names.get(short, 0) - 1
        if left > 0:
            self._names[short] = left
        else:
            self._names.pop(short, None)

    def shown(self, text: str, in_json: bool = False) -> str:
        """The text with the values back. `in_json`: the text is JSON as sent, so a value is escaped as part of a string."""
        lower = text.lower()
        known = [name for name in self._names if name in lower]
        if not known:
            return text

        def back(found: re.Match[str]) -> str:
            value = self._rows.get(f"{found['kind'].upper()}_{found['hash'].lower()}")
            if value is None:
                return found.group()
            if (found["open"] or "").upper().startswith("%5B"):
                return quote(value, safe="", errors="replace")
            return _escaped(value) if in_json else value

        if len(lower) != len(text):  # a letter whose lower case is two
            return PATTERN.sub(back, text)
        out: list[str] = []
        at = 0
        for start, end in _around(lower, known):
            out += (text[at:start], PATTERN.sub(back, text[start:end]))
            at = end
        return "".join((*out, text[at:]))


def _around(lower: str, names: list[str]) -> list[tuple[int, int]]:
    """Stretches that hold everything of the placeholders with these hashes, in order, apart from each other."""
    ends = sorted({at for name in names for at in _places(lower, name)})
    out: list[tuple[int, int]] = []
    for at in ends:
        start, end = max(0, at - LONGEST), at + LONGEST
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], end)
        else:
            out.append((start, end))
    return out


def _places(lower: str, name: str) -> Iterator[int]:
    at = lower.find(name)
    while at >= 0:
        yield at
        at = lower.find(name, at + len(name))


def _escaped(value: str) -> str:
    try:
        return msgspec.json.encode(value).decode()[1:-1]
    except (UnicodeError, msgspec.MsgspecError):
        return msgspec.json.encode(value.encode("utf-8", "replace").decode()).decode()[1:-1]


def held(text: str) -> int:
    """Where a placeholder may have begun that the next piece of a stream could finish; len(text) where none has."""
    tail = text[-LONGEST:]
    for start in STARTS.finditer(tail):
        if TAIL.match(tail, start.start()):
            return len(text) - len(tail) + start.start()
    return len(text)
