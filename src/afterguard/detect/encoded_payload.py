"""Orders to the model written so that a filter does not read them: encoded, spelled with look-alike letters, rotated.

In: a Scene. Out: Hits of kind encoded_payload where a decoded view (normalise.py) of user, tool or document text carries the signs of an
injection or jailbreak that the text as written does not. Encoded data as such is no hit.
"""

from __future__ import annotations

from collections.abc import Iterator

from afterguard.detect import phrases
from afterguard.detect.detector import Detector
from afterguard.detect.normalise import View, views
from afterguard.detect.phrases import Sighting, Window
from afterguard.detect.prefilter import Pattern
from afterguard.detect.redact import redacted
from afterguard.detect.scene import Scene, hit
from afterguard.model import Confidence, Hit, Origin, Severity, Span

ID = "encoded-payload"
TAXONOMIES = ("LLM01:2025", "LLM01:2026", "AML.T0068", "CWE-707")
THRESHOLD = 4.5
WINDOW = 900
STRONG = {
    "injection": {"drop-instructions", "override", "secrecy", "role-markup", "vocative", "addressed"},
    "jailbreak": {"drop-own", "drop-rules", "without-rules", "do-anything", "no-refusal", "mode"},
    "prompt_extraction": {"asks-own"},
}
PATTERNS = (
    Pattern("encoded:run", r"[A-Za-z0-9+/_-]{40}|([0-9a-fA-F]{2}[ :]){16}", once=True),
    Pattern("encoded:escapes", r"(%[0-9A-Fa-f]{2}[A-Za-z0-9.]{0,3}){5}|(&#x?[0-9a-fA-F]{2,6};.{0,3}){5}|(\\u[0-9a-fA-F]{4}){5}|(\\x[0-9a-fA-F]{2}){8}", once=True),
    Pattern("encoded:lookalike", r"[A-Za-z](\xd0[\xb0\xb5\xbe]|\xd1[\x80\x81\x83\x85\x96]|\xce[\xb1\xb5\xbf]|\xcf[\x81\x85])[A-Za-z]", once=True),
    Pattern("encoded:leet", r"\b[a-z]{1,6}[013457@$][a-z]{1,4}[013457@$][a-z]", once=True),
    Pattern("encoded:named", r"\b(rot.?13|caesar|backwards|reversed?|base64|b64|hex|decode|decipher|spelled)\b", ignore_case=True, once=True),
    Pattern("encoded:spaced", r"\b([A-Za-z][ .*_-]){8}", once=True),
)  # fmt: skip


def find(scene: Scene) -> Iterator[Hit]:
    """At most one hit a text."""
    topics = {pattern.name for pattern in PATTERNS if scene.found(pattern.name)}
    if not topics:
        return
    for index, text in scene.of(Origin.user, Origin.tool, Origin.document):
        if len(text.value) < 20:
            continue
        for view in views(text.value, rotated="encoded:named" in topics and len(text.value) < 20_000):
            rules, window = _judge(scene, view, text.origin)
            if window.score >= THRESHOLD and window.signs & STRONG[rules] and _is_new(scene, index, rules, window):
                yield _hit(scene, index, view, rules, window)
                break


def _judge(scene: Scene, view: View, origin: Origin) -> tuple[str, Window]:
    data = view.text.encode("utf-8", "surrogatepass")
    rows: dict[str, list[Sighting]] = {}
    for name, end in scene.scan(data, origin):
        rules, _, sign = name.partition(":")
        if rules in STRONG:
            rows.setdefault(rules, []).append(Sighting(sign, end))
    judged = [(rules, phrases.best(seen, phrases.signs(rules), WINDOW)) for rules, seen in sorted(rows.items())]
    return max(judged, key=lambda row: row[1].score, default=("injection", phrases.EMPTY))


def _is_new(scene: Scene, index: int, rules: str, window: Window) -> bool:
    """Whether a strong sign shows only once decoded."""
    plain = {sign for sign in STRONG[rules] if any(p.text == index for p in scene.found(f"{rules}:{sign}"))}
    return bool((window.signs & STRONG[rules]) - plain)


def _hit(scene: Scene, index: int, view: View, rules: str, window: Window) -> Hit:
    value = scene.texts[index].value
    start = len(value[: view.start].encode("utf-8", "surrogatepass"))
    says = ", ".join(sorted(phrases.signs(rules)[sign].says for sign in window.signs))
    shown = view.text.encode("utf-8", "surrogatepass")[max(0, window.start - 40) : window.end + 20]
    return hit(
        scene,
        ID,
        "encoded_payload",
        TAXONOMIES,
        severity=Severity.high,
        confidence=Confidence.high if window.score >= THRESHOLD + 2 else Confidence.medium,
        text=index,
        span=Span(start, start + len(value[view.start : view.end].encode("utf-8", "surrogatepass"))),
        excerpt=f"[{view.means}] {redacted(shown.decode('utf-8', 'ignore'))}"[:240],
        cause=f"{view.means} in {scene.texts[index].origin.value} text",
        rule=f"decoded from {view.means}, the text {says}",
        would_change="the application's users are expected to send such encodings",
    )


DETECTOR = Detector(
    id=ID,
    kinds=("encoded_payload",),
    taxonomies=TAXONOMIES,
    severity=Severity.high,
    why="Encoding an order hides it from filters and reviewers, not from the model.",
    find=find,
    patterns=PATTERNS,
    origins=(Origin.user, Origin.tool, Origin.document),
)
