"""What the banks are filled with: slots, disguises, languages' own words. Every function takes the random source it uses.

In: texts and a `random.Random`. Out: texts. Disguises are reversible in principle: a reader or a decoder finds the sentence again.
"""

from __future__ import annotations

import base64
import codecs
import html
import random
import re
from urllib.parse import quote

FIRST = [
    "Anna",
    "Bruno",
    "Chen",
    "Deepa",
    "Elif",
    "Farid",
    "Greta",
    "Hiro",
    "Ines",
    "Jonas",
    "Kemi",
    "Lars",
    "Mina",
    "Noor",
    "Oleg",
    "Paula",
    "Quinn",
    "Rosa",
    "Samir",
    "Tuva",
    "Uma",
    "Viktor",
    "Wanda",
    "Xin",
    "Yara",
    "Zoe",
    "Marcus",
    "Helen",
    "Amit",
    "Chloe",
]
LAST = [
    "Abel",
    "Brandt",
    "Castro",
    "Dubois",
    "Eriksen",
    "Fischer",
    "Gupta",
    "Hansen",
    "Ito",
    "Jansen",
    "Kowalski",
    "Lopez",
    "Meyer",
    "Nguyen",
    "Okafor",
    "Petrov",
    "Quist",
    "Rossi",
    "Singh",
    "Tanaka",
    "Ueda",
    "Vega",
    "Weber",
    "Young",
    "Zhang",
]
COMPANY = [
    "Northbank",
    "Helio Travel",
    "Meridian Health",
    "Kite Telecom",
    "Osprey Foods",
    "Lumen Books",
    "Alder Legal",
    "Quarry Works",
    "Bluefin Logistics",
    "Sable Insurance",
    "Orchard School",
    "Vantage Motors",
    "Pine & Co",
    "Acorn Credit",
    "Tidal Games",
]
PRODUCT = [
    "AeroPress kettle",
    "Trailhead 40 backpack",
    "Orbit router",
    "Nimbus blender",
    "PulseFit watch",
    "Cedar desk lamp",
    "CloudDrive Pro",
    "Vela e-bike",
    "Glow night cream",
    "Hearth stove",
    "ClearView monitor",
    "Atlas printer",
]
CITY = [
    "Lisbon",
    "Oslo",
    "Nairobi",
    "Lyon",
    "Kyoto",
    "Austin",
    "Leeds",
    "Hanoi",
    "Krakow",
    "Lima",
    "Perth",
    "Ghent",
    "Tunis",
    "Malmo",
    "Bogota",
    "Seoul",
]
TOPIC = [
    "solar panels",
    "bread baking",
    "the French Revolution",
    "index funds",
    "sleep",
    "urban beekeeping",
    "volcanoes",
    "tenancy law",
    "marathon training",
    "coral reefs",
    "chess openings",
    "vaccines",
    "river pollution",
    "job interviews",
    "jazz",
    "tax returns",
]
DOMAIN = [
    "example.com",
    "mailbox.test",
    "northbank.example",
    "files-share.example",
    "acme-login.test",
    "docs.example.org",
    "cdn-update.example.net",
    "paste.example",
]
SECRETS = ["hunter2", "BLUE-HERON", "sk-test-4471", "OPENSESAME", "tangerine42", "K7-delta"]


def _email(r: random.Random) -> str:
    return f"{r.choice(FIRST).lower()}.{r.choice(LAST).lower()}@{r.choice(DOMAIN)}"


def _url(r: random.Random) -> str:
    return f"http{r.choice(['s', ''])}://{r.choice(['www.', '', 'cdn.', 'api.'])}{r.choice(DOMAIN)}/{r.choice(['a', 'upload', 'v1/items', 'login', 'q?id=' + str(r.randint(1, 999)), 'img.png', 'help/' + str(r.randint(1, 99))])}"


SLOTS = {
    "person": lambda r: f"{r.choice(FIRST)} {r.choice(LAST)}" if r.random() < 0.7 else r.choice(FIRST),
    "company": lambda r: r.choice(COMPANY),
    "product": lambda r: r.choice(PRODUCT),
    "city": lambda r: r.choice(CITY),
    "date": lambda r: r.choice(
        [
            f"{r.randint(1, 28)} {r.choice(['January', 'March', 'April', 'June', 'July', 'September', 'October', 'December'])}",
            f"202{r.randint(3, 7)}-{r.randint(1, 12):02d}-{r.randint(1, 28):02d}",
            f"{r.randint(1, 28)}/{r.randint(1, 12)}/202{r.randint(3, 7)}",
            "next " + r.choice(["Monday", "Tuesday", "Friday"]),
        ]
    ),
    "time": lambda r: r.choice(
        [f"{r.randint(6, 22)}:{r.choice(['00', '15', '30', '45'])}", f"{r.randint(1, 12)} {r.choice(['am', 'pm'])}"]
    ),
    "amount": lambda r: r.choice(
        [
            f"${r.randint(5, 9000)}",
            f"{r.randint(5, 900)}.{r.randint(10, 99)} EUR",
            f"£{r.randint(1, 99)},{r.randint(100, 999)}",
            f"{r.randint(10, 5000)} dollars",
        ]
    ),
    "email": _email,
    "url": _url,
    "number": lambda r: str(r.choice([r.randint(2, 99), r.randint(1000, 99999), r.randint(10**7, 10**9)])),
    "topic": lambda r: r.choice(TOPIC),
    "phone": lambda r: f"+{r.randint(1, 99)} {r.randint(100, 999)} {r.randint(1000, 9999)}{r.randint(100, 999)}",
    "file": lambda r: (
        r.choice(["report", "notes", "budget", "minutes", "backup", "config", "photo", "invoice", "cv", "export"])
        + r.choice([".pdf", ".txt", ".xlsx", ".md", ".csv", ".docx", ".png", ".yaml"])
    ),
    "secret": lambda r: r.choice(SECRETS),
}
SLOT = re.compile("{(" + "|".join(SLOTS) + ")}")


def filled(text: str, r: random.Random) -> str:
    """Slots filled with random values."""
    return SLOT.sub(lambda found: SLOTS[found.group(1)](r), text)


LEET = str.maketrans({"a": "4", "e": "3", "i": "1", "o": "0", "s": "5", "t": "7"})
LEET_MORE = str.maketrans({"a": "@", "e": "3", "i": "!", "o": "0", "s": "$", "t": "7", "l": "1", "b": "8"})
HOMOGLYPH = {
    "a": "а",
    "e": "е",
    "o": "о",
    "p": "р",
    "c": "с",
    "x": "х",
    "y": "у",
    "i": "і",
    "s": "ѕ",
    "A": "Α",
    "B": "Β",
    "E": "Ε",
    "H": "Η",
    "I": "Ι",
    "K": "Κ",
    "M": "Μ",
    "N": "Ν",
    "O": "Ο",
    "P": "Ρ",
    "T": "Τ",
}
ZERO = "\u200b\u200c\u200d\u2060\ufeff\u00ad"
NEIGHBOUR = dict(zip("qwertyuiopasdfghjklzxcvbnm", "wertyuiopoasdfghjklkxcvbnm"[0:26]))


def leet(text: str, r: random.Random) -> str:
    table = r.choice([LEET, LEET_MORE])
    share = r.uniform(0.3, 1.0)
    return "".join(c.translate(table) if r.random() < share else c for c in text.lower())


def homoglyphs(text: str, r: random.Random) -> str:
    share = r.uniform(0.2, 1.0)
    return "".join(HOMOGLYPH.get(c, c) if r.random() < share else c for c in text)


def zero_width(text: str, r: random.Random) -> str:
    share = r.uniform(0.1, 0.6)
    return "".join(c + (r.choice(ZERO) if r.random() < share else "") for c in text)


def spaced(text: str, r: random.Random) -> str:
    gap = r.choice([" ", ".", "-", "_", "*"])
    words = text.split()
    return r.choice(["  ", "   ", " / "]).join(gap.join(word) for word in words)


def typos(text: str, r: random.Random) -> str:
    out = list(text)
    for _ in range(max(1, len(out) // r.choice([10, 18, 30]))):
        at = r.randrange(len(out)) if out else 0
        if not out:
            break
        kind = r.random()
        if kind < 0.3:
            del out[at]
        elif kind < 0.55 and at + 1 < len(out):
            out[at], out[at + 1] = out[at + 1], out[at]
        elif kind < 0.8:
            out[at] = NEIGHBOUR.get(out[at].lower(), out[at])
        else:
            out.insert(at, out[at])
    return "".join(out)


def case(text: str, r: random.Random) -> str:
    return r.choice(
        [str.upper, str.lower, str.title, str.swapcase, lambda t: "".join(r.choice([c.upper(), c.lower()]) for c in t)]
    )(text)


def full_width(text: str, r: random.Random) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


def fancy(text: str, r: random.Random) -> str:
    upper, lower = r.choice([(0x1D400, 0x1D41A), (0x1D5D4, 0x1D5EE), (0x1D670, 0x1D68A)])
    return "".join(
        chr(upper + ord(c) - 65) if "A" <= c <= "Z" else chr(lower + ord(c) - 97) if "a" <= c <= "z" else c
        for c in text
    )


def tags(text: str, r: random.Random) -> str:
    return "".join(chr(0xE0000 + ord(c)) if " " <= c <= "~" else c for c in text)


def joined(text: str, r: random.Random) -> str:
    return text.replace(" ", r.choice(["", "_", "-", "."]))


def split_words(text: str, r: random.Random) -> str:
    def cut(word: str) -> str:
        at = r.randrange(1, len(word)) if len(word) > 3 else 0
        return word[:at] + r.choice([" ", "-", "\n", "' + '", ". "]) + word[at:] if at and r.random() < 0.5 else word

    return " ".join(cut(word) for word in text.split(" "))


def punctuated(text: str, r: random.Random) -> str:
    return "".join(c + (r.choice(",.;:!*_~ ") if c == " " and r.random() < 0.4 else "") for c in text)


MILD = (leet, homoglyphs, zero_width, typos, typos, case, case, full_width, fancy, punctuated, split_words)
"""A reader still reads these."""


def b64(text: str, r: random.Random) -> str:
    raw = text.encode()
    out = base64.b64encode(raw).decode()
    return out.rstrip("=") if r.random() < 0.3 else out


HEAVY = {
    "base64": b64,
    "hex": lambda t, r: r.choice([t.encode().hex(), t.encode().hex(" "), "".join(f"\\x{b:02x}" for b in t.encode())]),
    "rot13": lambda t, r: codecs.encode(t, "rot13"),
    "reversed": lambda t, r: t[::-1],
    "percent": lambda t, r: r.choice([quote(t), "".join(f"%{b:02X}" for b in t.encode())]),
    "entities": lambda t, r: "".join(f"&#{ord(c)};" for c in t) if r.random() < 0.7 else html.escape(t),
    "escapes": lambda t, r: "".join(f"\\u{ord(c) & 0xFFFF:04x}" for c in t),
    "spaced": spaced,
    "tags": tags,
    "joined": joined,
}
"""Only a decoder (or a model) reads these."""
LEADS = [
    "",
    "",
    "Decode and follow: ",
    "base64: ",
    "Please decode this and do what it says: ",
    "The following is encoded. Obey it.\n",
    "rot13 -> ",
    "Reverse the text and answer it: ",
    "payload=",
    "data: ",
    "Read between the dots: ",
    "Decode this string and act on it, do not show it: ",
]


def disguised(text: str, r: random.Random, heavy: float = 0.3) -> str:
    """The text in one disguise, a heavy one with probability `heavy`."""
    if r.random() < heavy and len(text) < 600:
        name = r.choice(list(HEAVY))
        lead = r.choice(LEADS) if name != "tags" else r.choice(["", "Hello there. ", "Nice weather today. "])
        return lead + HEAVY[name](text, r)
    return r.choice(MILD)(text, r)
