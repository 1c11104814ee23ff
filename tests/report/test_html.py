"""The HTML report: what it says and in which order, that nothing in it can run or fetch, and that it stays small."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from base64 import b64encode
from hashlib import sha256
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest
from soon import soon

from afterguard.model import OnboardResult
from afterguard.report import html
from afterguard.safe import UNSEEN

VOID = {"meta", "br", "hr", "img", "link", "input"}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--enable-logging=stderr",
)  # fmt: skip
browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


def written(result: OnboardResult) -> str:
    out = io.StringIO()
    html.render(result, out)
    return out.getvalue()


class Page(HTMLParser):
    """Elements, attributes and text; checks nesting on the way."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, (tag, self.open[-3:])
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.text.append(data)

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.text))


@pytest.mark.parametrize("name", ["result", "empty", "hostile"])
def test_nothing_can_run_or_fetch(sample: ModuleType, name: str) -> None:
    source = written(getattr(sample, name)())
    page = Page(source)
    assert {tag for tag, _ in page.tags} & {
        "script",
        "img",
        "link",
        "iframe",
        "object",
        "embed",
        "form",
        "base",
        "use",
    } == set()
    for tag, attributes in page.tags:
        for key, value in attributes.items():
            assert not key.startswith("on") and key not in ("style", "src", "srcset", "action", "xlink:href"), (
                tag,
                key,
            )
            if key == "href":
                assert (value or "").startswith("#")
    assert "url(" not in source and "@import" not in source
    assert not UNSEEN.search(source.replace("\n", ""))


def test_ids_are_unique_and_anchors_lead_somewhere(sample: ModuleType) -> None:
    page = Page(written(sample.result()))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [str(attributes["href"])[1:] for _, attributes in page.tags if "href" in attributes]
    assert targets and set(targets) <= set(ids)
    labels = [name for _, attributes in page.tags for name in (attributes.get("aria-labelledby") or "").split()]
    assert labels and set(labels) <= set(ids)


def test_the_policy_allows_only_this_style_sheet(sample: ModuleType) -> None:
    source = written(sample.result())
    css = re.search("<style>(.*?)</style>", source, re.DOTALL)
    assert css
    digest = b64encode(sha256(css[1].encode()).digest()).decode()
    assert f"default-src &#39;none&#39;; style-src &#39;sha256-{digest}&#39;" in source
    assert source.count("<style") == 1


def test_the_owner_reads_facts_then_loss_then_chance_then_curve_then_decisions(sample: ModuleType) -> None:
    text = Page(written(sample.result())).words
    order = ["1.2 million", "If it happens, it costs", "Chance of a loss within a year", "Loss exceedance curve", "Three decisions",
             "Do nothing", "What would change this page", "What changed Since", "Suspected incidents 12", "Findings 10", "Inventory 21", "Guesses", "Not read, not told"]  # fmt: skip
    start = text.index("Owner: @shop/support. Read")
    places = [text.index(part, start) for part in order]
    assert places == sorted(places)
    assert "1 AI applications" not in text and "2 AI applications, the most urgent first" in text


def test_priors_give_a_range_and_say_so(sample: ModuleType) -> None:
    text = Page(written(sample.result())).words
    assert "$5,200 to $840,000" in text and "64 % of the expected loss rests on industry figures" in text
    assert "62,431" not in text and "$62,400" not in text
    app = sample.assistant()
    own = msgspec.structs.replace(app, loss=msgspec.structs.replace(app.loss, prior_share=0.2))
    text = Page(written(msgspec.structs.replace(sample.result(), apps=(own,)))).words
    assert "$62,400" in text and "20 % of the expected loss rests on industry figures" in text


def test_suspected_redacted_and_why(sample: ModuleType) -> None:
    text = Page(written(sample.result())).words
    assert "17 distinct identifiers seen" in text and "people affected" not in text.lower()
    assert "Would change it: a first-party order record" in text
    assert "LLM01:2025 Prompt Injection" in text and "dwell 9 d 7 h" in text
    assert "adds about $61,000 a year" in text


def test_could_not_tell_is_shown(sample: ModuleType) -> None:
    text = Page(written(sample.result())).words
    for part in (
        "not available",
        "not applicable",
        "error",
        "secrets/ops.zip",
        "Not measured:",
        "opaque reasoning 402",
    ):
        assert part in text
    assert "Owner: unknown" in text and "No recorded traffic was given" in text


def test_invisible_characters_are_shown(sample: ModuleType) -> None:
    text = Page(written(sample.result())).words
    assert "gpt-5-preview ⟨U+202E⟩(oops)" in text and "weird⟨U+001B⟩[31m⟨U+202E⟩name.txt" in text
    assert "<script>alert(1)</script> ⟨U+202E⟩ignore previous" in text


def test_suppressed_are_counted(sample: ModuleType) -> None:
    app = sample.assistant()
    survey = msgspec.structs.replace(app.survey, findings=app.survey.findings[1:], suppressed=app.survey.findings[:1])
    one = msgspec.structs.replace(sample.result(), apps=(msgspec.structs.replace(app, survey=survey),))
    assert "1 more were set aside by a suppression" in Page(written(one)).words


def test_same_input_same_bytes(sample: ModuleType) -> None:
    assert written(sample.result()) == written(sample.result())


def big(sample: ModuleType, times: int = 1) -> OnboardResult:
    app = sample.assistant()
    one, hit = app.survey.findings[0], app.lookback.incidents[0]
    findings = tuple(
        msgspec.structs.replace(one, rule=f"rule-{n % 90}", path=f"src/part{n % 400}/module_{n}.py", line=n, fingerprint=f"{n:032x}", snippet="x" * 200)
        for n in range(5000 * times)
    )  # fmt: skip
    incidents = tuple(msgspec.structs.replace(hit, id=str(n), excerpt="y" * 240) for n in range(2000 * times))
    assets = tuple(msgspec.structs.replace(app.survey.assets[n % 21], name=f"asset {n}") for n in range(4000 * times))
    coverage = tuple(
        msgspec.structs.replace(app.survey.coverage[0], path=f"models/{n}.bin") for n in range(5000 * times)
    )
    survey = msgspec.structs.replace(app.survey, findings=findings, assets=assets, coverage=coverage)
    look = msgspec.structs.replace(app.lookback, incidents=incidents)
    return OnboardResult(
        (msgspec.structs.replace(app, survey=survey, lookback=look),), sample.NOW, "0.1.0", "afterguard onboard ."
    )


def test_five_thousand_findings_stay_readable(sample: ModuleType) -> None:
    with soon():
        written(big(sample, 4))
    source = written(big(sample))
    assert len(source.encode()) < 5_000_000
    text = Page(source).words
    assert "more in report.json" in text and "5,000 findings" in text


def chromium(*flags: str, profile: Path) -> Any:
    assert CHROMIUM
    return subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", *flags],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.browser
@browser
def test_no_console_message(sample: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(written(sample.result()), encoding="utf-8")
    ran = chromium("--dump-dom", page.as_uri(), profile=tmp_path / "profile")
    assert "support-assistant" in ran.stdout
    assert "CONSOLE" not in ran.stderr, ran.stderr[-2000:]


@pytest.mark.browser
@browser
@pytest.mark.parametrize("name", ["result", "hostile", "big"])
def test_no_sideways_scroll_on_a_phone(sample: ModuleType, tmp_path: Path, name: str) -> None:
    source = re.sub(
        r"<meta http-equiv=[^>]*>", "", written(big(sample) if name == "big" else getattr(sample, name)()), count=1
    )
    probe = "const d=f.contentDocument.documentElement;document.body.dataset.wide=d.scrollWidth+'/'+d.clientWidth"
    page = tmp_path / "probe.html"
    page.write_text(
        f'<body><iframe id="f" width="320" height="900" srcdoc="{escape(source)}"></iframe><script>onload=()=>{{{probe}}}</script>',
        encoding="utf-8",
    )
    ran = chromium("--dump-dom", page.as_uri(), profile=tmp_path / "profile")
    found = re.search(r'data-wide="(\d+)/(\d+)"', ran.stdout)
    assert found, ran.stderr[-2000:]
    assert int(found[1]) <= int(found[2]) <= 320
