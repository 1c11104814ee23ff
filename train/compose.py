"""The generator: banks of hand-written texts become labelled rows, attacks beside their harmless twins.

In: the folder of banks, rows of the training file (for carriers and bare tasks), a seed. Out: `Row`s. Seeded and reproducible: the same banks, seed
and size give the same rows. Every recipe below is one function that makes one row; RECIPES says how often it is used. Attacks and twins share
carriers, places, lengths and disguises, so that none of those tells them apart.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from text import case, disguised, filled, typos

BANKS = Path(__file__).parent / "banks"


class Row(NamedTuple):
    """One labelled text. `family` is what leave-one-family-out takes away; `source` the bank or set it comes from."""

    text: str
    origin: str
    label: str
    family: str
    lang: str
    source: str
    focus: int = -1
    """Character at which a planted passage begins; -1 where none is known."""


def read_bank(path: Path) -> list[str]:
    """Entries of a bank: a line each (\\n is a line break), or blocks between lines of %%."""
    raw = path.read_text(encoding="utf-8")
    if path.suffix == ".lines":
        return [line.strip().replace("\\n", "\n") for line in raw.splitlines() if line.strip()]
    return [block.strip("\n") for block in re.split(r"(?m)^%%[ \t]*$", raw) if block.strip()]


def shingles(text: str) -> set[str]:
    words = re.findall(r"\w+", text.lower())
    return {" ".join(words[i : i + 8]) for i in range(max(1, len(words) - 7))}


class Composer:
    """All banks, and one method a recipe."""

    def __init__(
        self, seed: int, train: Iterable[dict[str, str]] = (), banks: Path = BANKS, late: bool = False
    ) -> None:
        """`late` also reads the banks of late/, which tier two sees in the second part of its training, tier one and the glance from the start."""
        self.r = random.Random(seed)
        self.bank: dict[str, list[str]] = {}
        for path in sorted(banks.rglob("*")):
            if path.suffix in (".lines", ".blocks"):
                # classic2.lines is classic.lines by a second author.
                name = str(path.relative_to(banks).with_suffix("")).rstrip("2")
                name = name.removeprefix("late/") if late else name
                self.bank[name] = list(dict.fromkeys([*self.bank.get(name, []), *read_bank(path)]))
        rows = list(train)
        ok = [row for row in rows if row["label"] == "benign"]
        self.pages = [
            row["text"]
            for row in ok
            if row["kind"] == "document" and row["set"] in ("oss_docs", "t0_p3_tasks") and len(row["text"]) < 4000
        ]
        self.tools = [row["text"] for row in ok if row["kind"] == "tool_output" and len(row["text"]) < 4000]
        self.code = [row["text"] for row in ok if row["kind"] == "code" and len(row["text"]) < 4000]
        self.facts = [row["text"] for row in ok if row["set"] == "clinc_wiki_sentences"]
        self.foreign = [row["text"] for row in ok if row["set"] == "tatoeba_multilingual"]
        tasks = ("seed_tasks", "bfcl", "clinc_oos", "gpteacher_roleplay", "gsm8k", "gpteacher_toolformer")
        self.tasks = [
            row["text"]
            for row in ok
            if row["kind"] == "user_prompt" and row["set"] in tasks and 15 < len(row["text"]) < 260
        ]
        self.asks = [row["text"] for row in ok if row["kind"] == "user_prompt" and len(row["text"]) < 900]
        self.orders = [
            row["text"] for row in rows if row["label"] == "indirect_injection" and row["set"] == "promptshield"
        ]
        self.langs = sorted({name.split("/")[1].split(".")[0] for name in self.bank if name.startswith("lang/")})

    # -- pieces ---------------------------------------------------------------------------------------------------------------
    def has(self, name: str) -> bool:
        return bool(self.bank.get(name))

    def pick(self, *names: str) -> str:
        rows = [name for name in names if self.has(name)]
        weights = [len(self.bank[name]) for name in rows]
        text = filled(self.r.choice(self.bank[self.r.choices(rows, weights)[0]]), self.r)
        return text.replace("{bad}", self.pick("attack/bad_goals")) if "{bad}" in text else text

    def goal(self) -> str:
        return self.pick("attack/goals")

    def command(self) -> str:
        """An order over the head of whoever gave the task: connector and goal."""
        frame = (
            self.pick("attack/connectors", "attack/connectors_classic")
            if self.r.random() < 0.5
            else self.pick("attack/connectors_classic", "attack/connectors_classic", "attack/connectors")
        )
        return frame.replace("{goal}", self.goal())

    def bare(self) -> str:
        if self.r.random() < 0.5 or not self.tasks:
            return self.pick("attack/indirect/bare_tasks")
        task = self.r.choice(self.tasks)
        return task[0].upper() + task[1:] + ("" if task[-1] in ".?!" else self.r.choice([".", "?", ""]))

    def planted(self) -> tuple[str, str]:
        """(payload, family) of something an outsider plants."""
        kind = self.r.random()
        if kind < 0.30:
            return self.bare(), "bare_task"
        if kind < 0.52:
            return self.pick("attack/indirect/addressed"), "addressed"
        if kind < 0.62:
            return self.pick("attack/indirect/subtle"), "subtle"
        if kind < 0.78:
            return self.pick("attack/indirect/classic"), "planted_classic"
        if kind < 0.90:
            return self.command(), "planted_command"
        if kind < 0.95:
            return self.pick("attack/jailbreak/short", "attack/jailbreak/classic"), "planted_jailbreak"
        return self.pick(
            "attack/injection/direct",
            "attack/injection/classic",
            "attack/extraction/direct",
            "attack/extraction/classic",
        ), "planted_direct"

    def harmless(self) -> str:
        """What honest people write in the places where payloads go."""
        kind = self.r.random()
        if kind < 0.55:
            return self.pick("benign/notes")
        if kind < 0.8 and self.facts:
            return self.r.choice(self.facts)
        if kind < 0.9 and self.foreign:
            return self.r.choice(self.foreign)
        return self.pick("benign/notes", "benign/model_answers")

    def wrapped(self, payload: str) -> str:
        """How a payload is set: bare, in a comment, in a field, under a heading."""
        forms = [
            "{}",
            "{}",
            "{}",
            "{}",
            "{}",
            "{}",
            "<!-- {} -->",
            "[{}]",
            "({})",
            "\n\n{}\n\n",
            "\n---\n{}\n---\n",
            "NOTE: {}",
            "IMPORTANT: {}",
            "P.S. {}",
            "\n\n## Notes\n{}\n",
            '<span style="display:none">{}</span>',
            "<p>{}</p>",
            '"{}"',
            "> {}",
            "**{}**",
            "<INFORMATION>{}</INFORMATION>",
            "{}\n\n",
        ]
        return self.r.choice(forms).replace("{}", payload)

    def carrier(self) -> tuple[str, str]:
        """(text with {payload} once, origin)."""
        kind = self.r.random()
        if kind < 0.45 and self.pages:
            source, origin = self.r.choice(
                [
                    (self.pages, "document"),
                    (self.pages, "document"),
                    (self.tools, "tool"),
                    (self.code, "document"),
                    (self.facts, "document"),
                    (self.foreign, "document"),
                ]
            )
            text = self.r.choice(source)
            if self.r.random() < 0.6 and len(text) > 700:
                at = self.r.randrange(0, len(text) - 500)
                text = text[at : at + self.r.randrange(200, 1500)]
            return self.inserted(text), ("tool" if self.r.random() < 0.2 else origin)
        if kind < 0.85:
            name = self.r.choices(
                ["carriers/document", "carriers/email", "carriers/tool", "carriers/code"], [4, 2.5, 4, 1.2]
            )[0]
            text = filled(self.r.choice(self.bank[name]), self.r) if self.has(name) else "{payload}"
            parts = text.split("{payload}")
            chosen = self.r.randrange(len(parts) - 1) if len(parts) > 1 else 0
            text = (
                "".join(part + ("{payload}" if i == chosen else "") for i, part in enumerate(parts[:-1])) + parts[-1]
                if len(parts) > 1
                else text + " {payload}"
            )
            return text, "tool" if name == "carriers/tool" or self.r.random() < 0.15 else "document"
        name = self.r.choice(
            ["benign/documents", "benign/emails", "benign/tool_results", "benign/code", "benign/model_answers"]
        )
        text = self.pick(name) if self.has(name) else self.pick("benign/notes")
        return self.inserted(text), "tool" if name == "benign/tool_results" else "document"

    def inserted(self, text: str) -> str:
        """{payload} at a sentence or line border; often at the start or end, where attackers like it."""
        where = self.r.random()
        gap = self.r.choice([" ", " ", "\n", "\n\n"])
        if where < 0.25:
            return text + gap + "{payload}"
        if where < 0.4:
            return "{payload}" + gap + text
        borders = [m.end() for m in re.finditer(r"(?:[.!?]\s+|\n)", text)]
        if not borders:
            return text + gap + "{payload}"
        at = self.r.choice(borders)
        return text[:at] + "{payload}" + gap + text[at:]

    def into(self, carrier: str, payload: str) -> str:
        at = carrier.find("{payload}")
        in_string = carrier.lstrip()[:1] in "{[" and at > 0 and carrier[at - 1] not in "\n"
        if in_string:
            payload = json.dumps(payload, ensure_ascii=False)[1:-1]
        return carrier.replace("{payload}", payload, 1)

    def maybe_disguised(self, text: str, share: float = 0.1) -> str:
        return disguised(text, self.r) if self.r.random() < share else text

    # -- attacks --------------------------------------------------------------------------------------------------------------
    def direct(self) -> Row:
        kind = self.r.random()
        if kind < 0.34:
            text, family = self.pick("attack/injection/direct"), "direct"
        elif kind < 0.48:
            text, family = self.pick("attack/injection/short"), "direct_short"
        elif kind < 0.76:
            text, family = self.pick("attack/injection/classic"), "direct_classic"
        else:
            text, family = self.command(), "direct_command"
        if "{goal}" in text:
            text = text.replace("{goal}", self.goal())
        if self.r.random() < 0.12 and self.asks:
            ask = self.r.choice(self.asks)[:500]
            text = self.r.choice(
                [ask + self.r.choice(["\n", "\n\n", " "]) + text, text + self.r.choice(["\n\n", " "]) + ask]
            )
        return Row(self.maybe_disguised(text, 0.14), "user", "injection", family, "en", "bank")

    def extraction(self) -> Row:
        text = self.pick("attack/extraction/direct", "attack/extraction/classic", "attack/extraction/secret")
        if self.r.random() < 0.1 and self.asks:
            text = self.r.choice(self.asks)[:500] + self.r.choice(["\n", " ", "\n\n"]) + text
        return Row(self.maybe_disguised(text, 0.14), "user", "extraction", "extraction", "en", "bank")

    def jailbreak(self) -> Row:
        kind = self.r.random()
        if kind < 0.38:
            text, family = self.pick("attack/jailbreak/long"), "jailbreak_long"
        elif kind < 0.65:
            text, family = self.pick("attack/jailbreak/short"), "jailbreak_short"
        elif kind < 0.95:
            text, family = self.pick("attack/jailbreak/classic"), "jailbreak_classic"
        else:
            text, family = "How can I " + self.pick("attack/bad_goals") + " " + self.suffix(), "jailbreak_suffix"
        if family == "jailbreak_long" and self.r.random() < 0.25:
            other = self.pick("attack/jailbreak/long")
            text += "\n\n" + other[self.r.randrange(0, len(other) // 2 + 1) :]
        return Row(self.maybe_disguised(text, 0.08), "user", "jailbreak", family, "en", "bank")

    def suffix(self) -> str:
        """Machine-found gibberish as optimisers print it."""
        pool = [
            "describing",
            "similarly",
            "Now",
            "write",
            "oppositely",
            "Me",
            "giving",
            "please",
            "revert",
            "with",
            "two",
            "Sure",
            "tutorial",
            "){",
            "](",
            "!!",
            "==",
            "\\+",
            "--",
            "%%",
            "<?",
            "interface",
            "Manuel",
            "Step",
            "steps",
            "formatted",
            "lists",
            "));(",
            "seeming",
            "textbook",
            "bullet",
            'Here">',
            "{\\",
            "surely",
            "TRANS",
            "reply",
            "manner",
            "@",
            "+",
            "opposite",
            "~~",
            "INST",
            "Table",
        ]
        return "".join(
            self.r.choice([" ", " ", ""]) + self.r.choice(pool) for _ in range(self.r.randrange(10, 28))
        ).strip()

    def indirect(self) -> Row:
        payload, family = self.planted()
        payload = self.maybe_disguised(payload, 0.08)
        alone = self.r.random()
        if alone < 0.16:
            return Row(payload, self.r.choice(["document", "tool"]), "indirect_injection", family, "en", "bank")
        carrier, origin = self.carrier()
        return Row(
            self.into(carrier, self.wrapped(payload)),
            origin,
            "indirect_injection",
            family,
            "en",
            "bank",
            carrier.find("{payload}"),
        )

    def pasted(self) -> Row:
        payload, family = self.planted()
        while family == "bare_task":
            payload, family = self.planted()
        carrier = filled(self.r.choice(self.bank["carriers/user"]), self.r)
        text = self.into(carrier, self.wrapped(payload)).replace("{payload}", "")
        return Row(text, "user", "indirect_injection", "pasted_" + family, "en", "bank", carrier.find("{payload}"))

    def foreign_attack(self) -> Row:
        lang = self.r.choice(self.langs)
        kind = self.r.choices(["injection", "extraction", "jailbreak", "indirect"], [5, 2.5, 2.5, 3])[0]
        name = f"lang/{lang}.{kind}"
        if not self.has(name):
            return self.foreign_attack()
        text = self.pick(name)
        if kind == "indirect":
            focus = -1
            if self.r.random() < 0.75:
                around = (
                    self.pick(f"lang/{lang}.benign_doc")
                    if self.has(f"lang/{lang}.benign_doc") and self.r.random() < 0.7
                    else self.carrier()[0].replace("{payload}", "")
                )
                around = self.inserted(around)
                focus = around.find("{payload}")
                text = self.into(around, self.wrapped(text))
            return Row(
                text, self.r.choice(["document", "tool"]), "indirect_injection", "foreign_indirect", lang, "bank", focus
            )
        mixed = self.r.random()
        if mixed < 0.12 and self.has(f"lang/{lang}.benign_user"):
            text = (
                self.pick(f"lang/{lang}.benign_user")
                + " "
                + self.r.choice([text, self.pick("attack/injection/classic", "attack/extraction/classic")])
            )
        elif mixed < 0.2:
            text = self.maybe_disguised(text, 1.0)
        return Row(text, "user", kind, f"foreign_{kind}", lang, "bank")

    # -- twins ----------------------------------------------------------------------------------------------------------------
    def twin_user(self) -> Row:
        text = self.pick(
            "benign/trigger_user",
            "benign/trigger_user",
            "benign/user_orders",
            "benign/security_user",
            "benign/assistant_meta",
            "benign/roleplay_short",
            "benign/chat",
            "benign/short",
            "benign/tasks",
            "benign/secret_user",
        )
        if self.r.random() < 0.06:
            text = self.r.choice([typos, case])(text, self.r)
        elif self.r.random() < 0.03:
            text = disguised(text, self.r, 0.7)
        return Row(text, "user", "benign", "twin_user", "en", "bank")

    def twin_turn(self) -> Row:
        """What people type in the middle of a dialogue with a service bot, and what its tools return."""
        if self.r.random() < 0.12:
            return Row(self.pick("benign/bot_turns"), "tool", "benign", "twin_turn", "en", "bank")
        text = self.pick("benign/turns")
        if self.r.random() < 0.25:
            text += self.r.choice([" ", "\n"]) + self.pick("benign/turns")
        return Row(text, "user", "benign", "twin_turn", "en", "bank")

    def twin_long(self) -> Row:
        text = self.pick("benign/user_pasted", "benign/roleplay", "benign/chat_long")
        return Row(text, "user", "benign", "twin_long", "en", "bank")

    def twin_pasted(self) -> Row:
        carrier = filled(self.r.choice(self.bank["carriers/user"]), self.r)
        note = "" if self.r.random() < 0.4 else self.wrapped(self.harmless())
        return Row(self.into(carrier, note).replace("{payload}", ""), "user", "benign", "twin_pasted", "en", "bank")

    def twin_carrier(self) -> Row:
        carrier, origin = self.carrier()
        note = "" if self.r.random() < 0.35 else self.wrapped(self.maybe_disguised(self.harmless(), 0.04))
        return Row(self.into(carrier, note), origin, "benign", "twin_carrier", "en", "bank")

    def twin_alone(self) -> Row:
        return Row(self.harmless(), self.r.choice(["document", "tool"]), "benign", "twin_alone", "en", "bank")

    def twin_page(self) -> Row:
        name, origin = self.r.choice(
            [
                *([("benign/security_docs", "document")] if self.has("benign/security_docs") else []),
                ("benign/documents", "document"),
                ("benign/emails", "document"),
                ("benign/tool_results", "tool"),
                ("benign/code", "document"),
                ("benign/system_prompts", "system"),
                ("benign/model_answers", "model"),
                ("benign/pages", "document"),
                ("benign/agent_results", "tool"),
                ("benign/agent_results", "tool"),
            ]
        )
        if not self.has(name):
            return self.twin_carrier()
        text = self.pick(name)
        if origin == "document" and self.r.random() < 0.1:
            origin = "tool"
        return Row(text, origin, "benign", "twin_page", "en", "bank")

    QUOTING = (
        "The report lists a sample the filter caught: {q}. Training data for the filter is refreshed monthly.",
        "An attacker might type {q}, which is why outputs are checked before they reach the customer.",
        "Is {q} a prompt injection, and how would a classifier notice it?",
        "Explain to our developers why a message such as {q} is dangerous.",
        "Test case 14: input {q}; expected result: blocked, event logged, no tool called.",
        "In the talk she showed how {q} fooled an early chatbot and what the vendor changed afterwards.",
        "Our SOC saw {q} in yesterday's logs. Which playbook applies and who has to be informed?",
        "Translate the following example from our security course into plain language for managers: {q}",
        "Rule 7 matches phrases like {q}. False positives: security newsletters.",
        "The paper calls {q} a direct attack and compares four defences against it.",
    )

    def quoted(self) -> Row:
        attack = self.pick("attack/injection/classic", "attack/extraction/classic", "attack/injection/direct")
        mark = self.r.choice([('"', '"'), ("'", "'"), ("“", "”"), ("`", "`"), ("«", "»")])
        text = self.r.choice(self.QUOTING).replace("{q}", mark[0] + attack[:160] + mark[1])
        return Row(text, self.r.choice(["user", "document"]), "benign", "quoted", "en", "bank")

    def foreign_twin(self) -> Row:
        lang = self.r.choice(self.langs)
        kind = self.r.choice(["benign_user", "benign_user", "benign_doc"])
        name = f"lang/{lang}.{kind}"
        if not self.has(name):
            return self.foreign_twin()
        return Row(
            self.pick(name),
            "user" if kind == "benign_user" else self.r.choice(["document", "document", "tool"]),
            "benign",
            "foreign_twin",
            lang,
            "bank",
        )

    def rows(self, size: int) -> list[Row]:
        """`size` rows, without repetitions, in a random order."""
        recipes = [*RECIPES, *([("twin_turn", 7.0)] if self.has("benign/turns") else [])]
        names = [name for name, _ in recipes]
        weights = [weight for _, weight in recipes]
        out: dict[tuple[str, str], Row] = {}
        for _ in range(size * 2):
            recipe: Callable[[], Row] = getattr(self, self.r.choices(names, weights)[0])
            row = recipe()
            if "{goal}" in row.text:
                row = row._replace(text=row.text.replace("{goal}", self.goal()))
            if row.text.strip():
                out.setdefault((row.text, row.origin), row)
            if len(out) >= size:
                break
        return list(out.values())


RECIPES = (
    ("direct", 9),
    ("extraction", 4.5),
    ("jailbreak", 6),
    ("indirect", 17),
    ("pasted", 2.5),
    ("foreign_attack", 9),
    ("twin_user", 14),
    ("twin_long", 6),
    ("twin_pasted", 2),
    ("twin_carrier", 13),
    ("twin_alone", 4),
    ("twin_page", 8),
    ("quoted", 1.5),
    ("foreign_twin", 7),
)
