"""The nouns. Everything that crosses from one area to another is one of these frozen structs.

Spans are UTF-8 byte offsets into the original bytes of the text they point at. Times are seconds since the epoch, UTC,
as the event gave them; `None` when it gave none. Paths are POSIX and relative to the PATH the user named.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from afterguard.shares import Share, wilson


class Severity(StrEnum):
    """How bad it is if true. Order with `SEVERITIES.index`."""

    info = "info"
    low = "low"
    medium = "medium"
    high = "high"
    critical = "critical"


SEVERITIES = tuple(Severity)


class Confidence(StrEnum):
    """How sure Afterguard is of a finding, hit or incident."""

    low = "low"
    medium = "medium"
    high = "high"


class Certainty(StrEnum):
    """How an asset is known: written down, concluded from signs, or seen without being understood."""

    declared = "declared"
    inferred = "inferred"
    unresolved = "unresolved"


class AssetKind(StrEnum):
    """What an AI application is made of."""

    provider = "provider"
    model = "model"
    embedding_model = "embedding_model"
    framework = "framework"
    agent = "agent"
    tool = "tool"
    mcp_server = "mcp_server"
    vector_store = "vector_store"
    dataset = "dataset"
    prompt = "prompt"
    inference_server = "inference_server"
    cloud_ai_service = "cloud_ai_service"
    model_artifact = "model_artifact"
    secret_reference = "secret_reference"
    ai_endpoint = "ai_endpoint"


class Origin(StrEnum):
    """The channel a text came through."""

    system = "system"
    user = "user"
    document = "document"
    tool = "tool"
    model = "model"


class Trust(StrEnum):
    """Who can have written a text. Third-party is whatever an outsider can write."""

    system = "system"
    user = "user"
    first_party = "first_party"
    third_party = "third_party"
    model = "model"


class Outcome(StrEnum):
    """What a check answered. "Could not tell" is data."""

    hit = "hit"
    miss = "miss"
    not_applicable = "not_applicable"
    not_available = "not_available"
    error = "error"


class App(msgspec.Struct, frozen=True, omit_defaults=True):
    """One application, the unit that is ranked, priced and reported."""

    name: str
    tenant: str = "default"
    root: str = ""
    owner: str = ""


class Source(msgspec.Struct, frozen=True):
    """One file as read: `path` relative and POSIX, `data` whole (capped by files.py), `kind` from its content and name.

    `kind` is one of code.KINDS: python notebook javascript typescript java kotlin go yaml json toml hcl dockerfile env
    ini manifest text log csv model binary.
    """

    path: str
    data: bytes
    kind: str
    size: int = 0


class Evidence(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where an asset was seen. `line` is 1-based and physical, 0 where lines make no sense (a binary file)."""

    path: str
    line: int
    matched: str
    source: str = "code"
    """code, manifest, config, infrastructure, traffic, audit, billing, artefact or lookback."""


class Edge(msgspec.Struct, frozen=True, omit_defaults=True):
    """A relation from the asset that holds it: uses, calls, reads, serves, authenticates_with, part_of, trained_on."""

    relation: str
    kind: AssetKind
    name: str


class Asset(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing, joined over all its evidence. Identity is (kind, name); see discover.inventory.join."""

    kind: AssetKind
    name: str
    confidence: Certainty
    evidence: tuple[Evidence, ...]
    edges: tuple[Edge, ...] = ()
    owner: str = ""
    attributes: dict[str, str] = {}
    """Small facts with fixed names: version, provider, model, host, image, region, transport, command, task, digest."""
    first_seen: float | None = None
    last_seen: float | None = None


class Coverage(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was not read, or not judged, and why. `reason` is a fixed word, `detail` is for a person."""

    path: str
    reason: str
    """binary too_large unreadable vanished not_a_file symlink_loop bomb bad_encoding bad_syntax unsupported depth
    time cap excluded encrypted truncated"""
    detail: str = ""
    count: int = 1
    bytes: int = 0


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """A weakness with a place. `fingerprint` survives line moves: see scan.fingerprint."""

    rule: str
    severity: Severity
    confidence: Confidence
    path: str
    line: int
    taxonomies: tuple[str, ...]
    message: str
    """What is wrong here, in one sentence that names the thing found."""
    fix: str
    title: str = ""
    end_line: int = 0
    snippet: str = ""
    """The line as read, secrets redacted, at most 200 characters."""
    asset: str = ""
    """kind:name of the asset it belongs to, where known."""
    fingerprint: str = ""
    attributes: dict[str, str] = {}


class Unjudged(msgspec.Struct, frozen=True, omit_defaults=True):
    """A part of an exchange nobody could look at: unparsed, truncated, opaque, too long."""

    reason: str
    """unknown_shape bad_json bad_encoding truncated opaque_reasoning image audio binary prompt_not_logged
    response_not_logged too_long budget"""
    where: str = ""
    bytes: int = 0


class Text(msgspec.Struct, frozen=True, omit_defaults=True):
    """A piece of text with where it came from. Never print it directly: see report.safe."""

    value: str
    origin: Origin
    trust: Trust
    where: str = ""
    """Place in the record, for instance messages[3].content."""
    name: str = ""
    """The tool or document it came from."""
    turn: int = 0
    """Order in the conversation; a text can only be explained by texts of a lower turn."""


class ToolCall(msgspec.Struct, frozen=True, omit_defaults=True):
    """A call the model asked for. `arguments` is the JSON text as sent."""

    name: str
    arguments: str
    id: str = ""
    turn: int = 0
    where: str = ""
    """Place of the whole call in the body, for instance response.choices[0].message.tool_calls[1]."""


class ToolSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tool as offered to the model. `parameters` is its JSON schema as text."""

    name: str
    description: str = ""
    parameters: str = ""


class Prediction(msgspec.Struct, frozen=True, omit_defaults=True):
    """One call of a predictive model: feature values by name, the decision, the score."""

    features: dict[str, float | str | bool | None]
    decision: str = ""
    score: float | None = None


class Batch(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a predictive model is asked, as a table of rows and features, and what it said of each row. Bounded by who made it (wire/table.py)."""

    names: tuple[str, ...]
    """Of the features, in the order of their columns."""
    kinds: tuple[str, ...]
    """What stands in each column: number, bool, text, mixed (of several kinds, or no scalar), missing."""
    numbers: Any
    """numpy array of rows x features: a number, 0 or 1, NaN where a cell is missing or a text. May be a view of the bytes that came in."""
    texts: dict[int, tuple[str, ...]] = {}
    """Column -> text of each row, "" where missing."""
    version: str = ""
    """The model's version, as the path or the reply names it."""
    scores: tuple[float, ...] = ()
    """Of each row the largest score."""
    decisions: tuple[str, ...] = ()
    """Of each row the class or label, where one is told."""
    is_named: bool = True
    """Whether the names came with the request; else they are made from positions."""

    @property
    def rows(self) -> int:
        """How many."""
        return len(self.numbers)


class Exchange(msgspec.Struct, frozen=True, omit_defaults=True):
    """One request to a model with its reply, or one conversation as logged."""

    id: str
    source: str
    line: int
    protocol: str
    """openai anthropic bedrock litellm otel har messages predictive mapped"""
    time: float | None = None
    time_zone_known: bool = True
    app: str = ""
    tenant: str = "default"
    conversation: str = ""
    identity: str = ""
    """The caller as logged. Only a keyed hash of it is ever stored or shown."""
    key: str = ""
    """Name or hash of the API key used, never the key."""
    provider: str = ""
    model: str = ""
    address: str = ""
    client: str = ""
    texts: tuple[Text, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    tools: tuple[ToolSpec, ...] = ()
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: float | None = None
    """US dollars as logged; never estimated here."""
    status: int = 0
    prediction: Prediction | None = None
    batch: Batch | None = None
    """Rows of a predictive model, where a door read them."""
    unjudged: tuple[Unjudged, ...] = ()
    bytes: int = 0


class Span(NamedTuple):
    """UTF-8 byte offsets [start, end)."""

    start: int
    end: int


class Hit(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something a detector saw in one exchange."""

    detector: str
    """Kebab-case id of the detector: detect/<id with underscores>.py"""
    kind: str
    """Snake-case incident kind, for instance secret_in_output; `inventory` for data that is merely present."""
    severity: Severity
    confidence: Confidence
    exchange: str
    taxonomies: tuple[str, ...]
    text: int = -1
    """Index into Exchange.texts, -1 where the hit is about calls or the whole exchange."""
    call: int = -1
    """Index into Exchange.calls of the call it is about, -1 where it is about none in particular."""
    span: Span = Span(0, 0)
    excerpt: str = ""
    """Redacted, at most 240 characters."""
    identifiers: tuple[str, ...] = ()
    """Salted hashes of the distinct personal identifiers or secrets seen."""
    data_classes: tuple[str, ...] = ()
    cause: str = ""
    """What hits of one cause share: a payload family, a key, a host, an identity. Incidents merge on (kind, cause)."""
    rule: str = ""
    """The rule or mechanism that matched, for a person: "argument amount came only from third-party text"."""
    would_change: str = ""
    """What would change the verdict."""


class Judgement(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the judge of text says of one text (detect/judge)."""

    score: float
    """Calibrated probability of an attack, 0 to 1."""
    label: str
    """`benign`, injection, jailbreak, extraction or indirect_injection."""
    spans: tuple[Span, ...]
    """Where the attack stands; empty for `benign`."""
    tier: str
    """`one` or `two`: which tier had the last word."""
    model: str
    """Version and checksum of the weights."""
    unjudged: str = ""
    """What was not looked at, and why; "" where everything was."""


class Action(StrEnum):
    """What a policy does about an exchange, weakest first. Order with `ACTIONS.index`."""

    allow = "allow"
    flag = "flag"
    redact = "redact"
    """Mask what was found."""
    tokenise = "tokenise"
    """Put a placeholder in its place and put it back in the reply."""
    neutralise = "neutralise"
    """Cut what was found, keep the rest."""
    round = "round"
    """Of a predictive model: give scores with fewer digits."""
    withhold = "withhold"
    """Of a predictive model: keep the decision, take the scores away."""
    pin_version = "pin_version"
    """Of a predictive model: send it to the version that was agreed."""
    step_up = "step_up"
    """Ask the application for a further check of the caller, or give the reply that was agreed for that."""
    throttle = "throttle"
    step_down = "step_down"
    """Take tools away: from the offer of a request, or the call from a reply."""
    reroute = "reroute"
    """Send it to a safer model."""
    ask = "ask"
    """Hold until a person approves."""
    block = "block"


ACTIONS = tuple(Action)


class Edit(msgspec.Struct, frozen=True):
    """One change to a text of an exchange: bytes [span) of Exchange.texts[text] become `new`."""

    text: int
    span: Span
    new: str
    rule: str = ""


class Matter(NamedTuple):
    """One thing that a person has to approve."""

    rule: str
    """Id of the rule that asks."""
    hit: int = -1
    """Index of the hit it is about; -1 where the rule names none."""
    call: int = -1
    """Index of the call it is about; -1 where the whole message waits."""


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a policy says of one exchange."""

    action: Action = Action.allow
    """What is done. In observe and shadow never more than flag."""
    would: Action = Action.allow
    """What the policy would do if it were enforced everywhere."""
    rule: str = ""
    """Id of the determining rule: the first with the strongest action."""
    says: str = ""
    """The rule as a sentence."""
    matched: tuple[str, ...] = ()
    """Ids of all rules that matched, strongest first."""
    edits: tuple[Edit, ...] = ()
    """Changes to do, in order of text and span, never overlapping. Empty where they are only what would be done."""
    calls: tuple[int, ...] = ()
    """Indexes of Exchange.calls that are taken out of the reply (step_down, ask)."""
    tools: tuple[str, ...] = ()
    """Names of tools that are taken from the offer of a request (step_down)."""
    model: str = ""
    """The model to send it to (reroute)."""
    wait: float = 0.0
    """Seconds until it may be tried again (throttle)."""
    asks: tuple[Matter, ...] = ()
    """What has to be approved (ask)."""
    digits: int = -1
    """Digits behind the point that scores keep (round); negative: all."""
    withheld: bool = False
    """Whether scores are taken out of the reply (withhold)."""
    version: str = ""
    """The version of the model it is sent to (pin_version)."""
    step_up: str = ""
    """Id of the rule that wants a further check of the caller (step_up)."""
    answer: dict[str, Any] | None = None
    """What is answered instead, where the rule has a reply of its own (step_up)."""
    policy: str = ""
    """Revision of the policy: its name and the first 12 hex digits of its SHA-256."""


NOTHING = Verdict()
"""What is said where nobody has anything to say."""


class Incident(msgspec.Struct, frozen=True, omit_defaults=True):
    """Hits of one cause, merged. Suspected until a person confirms it."""

    id: str
    kind: str
    title: str
    severity: Severity
    confidence: Confidence
    first_seen: float | None
    last_seen: float | None
    exchange_ids: tuple[str, ...]
    identifiers: int
    """Distinct identifiers seen; never "people affected"."""
    taxonomies: tuple[str, ...]
    excerpt: str
    count: int = 0
    """Exchanges touched; exchange_ids may be cut, this is not."""
    data_classes: tuple[str, ...] = ()
    cause: str = ""
    rule: str = ""
    would_change: str = ""
    app: str = ""
    tenant: str = "default"
    status: str = "suspected"

    @property
    def dwell(self) -> float | None:
        """Seconds between the first and the last sighting."""
        if self.first_seen is None or self.last_seen is None:
            return None
        return max(0.0, self.last_seen - self.first_seen)


class Range(msgspec.Struct, frozen=True):
    """An 80 % interval of a quantity with its middle: 10th, 50th and 90th percentile."""

    low: float
    mid: float
    high: float


class Own(msgspec.Struct, frozen=True):
    """A figure the team measured itself."""

    value: Range
    says: str = "measured on the alerts of this application"
    source: str = "telemetry"
    """Of the loss catalogue's sources."""


class Factor(msgspec.Struct, frozen=True, omit_defaults=True):
    """A number the loss rests on, with where it came from."""

    name: str
    value: str
    grade: str
    """A own telemetry, B claims or regulatory, C survey, D press or vendor, owner = told by the application's owner."""
    source: str = ""
    year: int = 0
    measured: bool = False


class ScenarioLoss(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one scenario contributes."""

    id: str
    title: str
    frequency: Range
    """Loss events a year."""
    severity: Range
    """US dollars (or the business currency) if it happens."""
    annual_mean: float
    chance: float
    """Probability of at least one loss event in a year."""
    factors: tuple[Factor, ...] = ()
    driven_by: tuple[str, ...] = ()
    """Fingerprints of findings and ids of incidents that moved it."""
    capped_by: str = ""


class Fact(msgspec.Struct, frozen=True, omit_defaults=True):
    """A counted fact that leads the page: records reachable, keys exposed, payment limit."""

    label: str
    value: str
    source: str
    measured: bool = True


class Loss(msgspec.Struct, frozen=True, omit_defaults=True):
    """The money of one application for one year."""

    app: str
    currency: str
    seed: int
    years: int
    scenarios: tuple[ScenarioLoss, ...]
    facts: tuple[Fact, ...]
    chance_of_loss: float
    if_it_happens: Range
    annual_mean: float
    one_in_twenty: float
    curve: tuple[tuple[float, float], ...]
    """(loss, probability that a year's loss exceeds it), ascending in loss."""
    band: tuple[tuple[float, float, float], ...] = ()
    """(loss, 10th, 90th percentile of the exceedance probability) from parameter uncertainty."""
    prior_share: float = 1.0
    """Share of the expected loss that rests on industry priors rather than own facts."""
    not_measured: tuple[str, ...] = ()
    unknown_business: tuple[str, ...] = ()
    decisions: tuple[Decision, ...] = ()
    mean_range: Range | None = None
    """80 % of parameter draws of the expected yearly loss; shown instead of annual_mean where priors carry it."""
    chance_range: Range | None = None
    twenty_range: Range | None = None
    deltas: dict[str, float] = {}
    """Fingerprint or incident id -> expected loss a year it adds."""
    appetite: float | None = None
    """Loss in a year the owner wants to stay below with 95 %, where told."""
    chance_over_appetite: float | None = None
    note: str = ""
    """One sentence that must stand beside the figures, for instance that no scenario applies."""


class Decision(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing the owner can decide, and what it changes by paired simulation with common random numbers.

    To do nothing is one of them: it avoids and costs nothing, and a week of it has a price.
    """

    id: str
    title: str
    avoided: Range
    """Loss avoided a year."""
    cost: float
    chance_net_positive: float
    cost_of_waiting_a_week: float
    closes: tuple[str, ...] = ()
    false_positive_cost: float = 0.0
    """Part of `cost`: what wrongly blocked requests and reviews cost a year."""
    one_in_twenty_after: float | None = None
    """One-in-twenty loss of the same simulated years with it in place."""
    note: str = ""
    factors: tuple[Factor, ...] = ()

    @property
    def is_nothing(self) -> bool:
        """Whether this is the decision to do nothing."""
        return self.id == "do-nothing"


class Survey(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one walk over the paths found: input of reports, risk and the store."""

    app: App
    assets: tuple[Asset, ...] = ()
    findings: tuple[Finding, ...] = ()
    coverage: tuple[Coverage, ...] = ()
    files: int = 0
    bytes: int = 0
    checks: dict[str, str] = {}
    """Check id -> Outcome, so that 'could not tell' shows."""
    suppressed: tuple[Finding, ...] = ()
    """Findings set aside by an inline suppression or a dated exception: counted, never lost."""


class Lookback(msgspec.Struct, frozen=True, omit_defaults=True):
    """What recorded traffic showed."""

    exchanges: int
    incidents: tuple[Incident, ...]
    unjudged: dict[str, int]
    inventory: dict[str, int] = {}
    """Data class -> distinct identifiers merely present."""
    first_seen: float | None = None
    last_seen: float | None = None
    models: dict[str, int] = {}
    protocols: dict[str, int] = {}
    coverage: tuple[Coverage, ...] = ()
    bytes: int = 0
    seconds: float = 0.0
    change_request: str = ""
    """Markdown: the change that would log prompts, where they were never logged."""
    time_zone_assumed: int = 0
    assets: tuple[Asset, ...] = ()
    """Models and tools seen at work."""


class Family(msgspec.Struct, frozen=True, omit_defaults=True):
    """How one technique of an attack fared against an application that is live."""

    technique: str
    succeeded: int = 0
    resisted: int = 0
    blocked: int = 0
    """Of those resisted, held off by something before the model."""
    not_assessed: dict[str, int] = {}
    """Reason -> trials."""
    skipped: str = ""
    """Why it was not tried at all."""
    title: str = ""
    kind: str = ""
    """Attack kind, as the techniques name it."""
    severity: Severity = Severity.info
    taxonomies: tuple[str, ...] = ()
    forms: dict[str, tuple[int, int]] = {}
    """Form of the technique -> successes and trials that say anything."""
    effective: float = 0.0
    """What its trials are worth as independent ones: those of one form are much alike."""
    fix: str = ""
    """What mends it in the application."""
    rule: str = ""
    """Id of the rule of the guard that holds it off meanwhile; "" where none can."""

    @property
    def share(self) -> Share:
        """Of the trials that say anything."""
        return wilson(self.succeeded, self.succeeded + self.resisted)


class Attacked(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one attack measured of an application: the rates, without a word that was said."""

    target: str
    run: str
    families: tuple[Family, ...]
    ended: float = 0.0
    """Seconds since the epoch, UTC; 0 where the result does not say."""
    through: str = "direct"
    """direct or guarded: through a door of the guard."""
    requests: int = 0
    stopped: str = ""
    """Why it ended before everything was tried."""


class Changed(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that differs from the run before."""

    what: str
    """finding, incident or asset."""
    id: str
    """Fingerprint of a finding, id of an incident, kind:name of an asset."""
    title: str
    severity: str = ""
    where: str = ""
    """path:line of a finding or of an asset's first evidence."""


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """This run against the one before, by fingerprints that survive line moves."""

    new: tuple[Changed, ...] = ()
    fixed: tuple[Changed, ...] = ()
    """Gone, and the place it was in was read this time."""
    not_examined: tuple[Changed, ...] = ()
    """Was there before; its place was not read this time, so nobody can say that it is fixed."""
    unchanged: dict[str, int] = {}
    """finding, incident, asset -> how many stayed."""
    previous_run: str = ""
    previous_time: float | None = None


class BusinessUnknown(msgspec.Struct, frozen=True, omit_defaults=True):
    """A question nobody has answered yet and what an answer would change on the first page."""

    key: str
    """Path of the field in business.yaml."""
    question: str
    assumed: str = ""
    """What the calculation used instead."""
    effect: str = ""
    """How the page moves with the answer."""


class DataUse(msgspec.Struct, frozen=True, omit_defaults=True):
    """A row of the data-protection sheet."""

    what: str
    """What was read: "12,400 exchanges of logs/litellm.jsonl"."""
    classes: str
    """Data classes seen in it, in words."""
    kept: str
    """What stays after the run: nothing, redacted excerpts, encrypted originals."""
    where: str
    who: str
    """Who can read what is kept."""
    how_long: str
    legal_note: str = ""


class AppResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything one run says about one application."""

    survey: Survey
    summary: str = ""
    """What the application is, in one sentence."""
    lookback: Lookback | None = None
    """None when no traffic was given."""
    loss: Loss | None = None
    change: Change | None = None
    """None on a first run."""
    unknowns: tuple[BusinessUnknown, ...] = ()
    policy_path: str = ""
    """Path of the drafted policy, relative to the report."""
    logs: tuple[str, ...] = ()
    """Names of the traffic files read."""
    attacked: Attacked | None = None
    """What an attack measured of it; None where none was given or kept."""


class OnboardResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """What `afterguard onboard` hands to the reports. Applications come ranked, worst first."""

    apps: tuple[AppResult, ...]
    created_at: float
    """Seconds since the epoch, UTC: an argument, so that the same input gives the same bytes."""
    version: str
    command: str
    """The command line as typed."""
    data_sheet: tuple[DataUse, ...] = ()
    next_command: str = ""
    run: str = ""
    files: dict[str, str] = {}
    """Name of each file written beside the report -> what it is for."""
    retention: str = ""
    """One sentence on how long what was kept is kept."""


class Entity(msgspec.Struct, frozen=True, omit_defaults=True):
    """Somebody or something an alert or a case is about."""

    kind: str
    """One of ENTITIES."""
    name: str
    """A pseudonym (keyed hash) where it names a person or a credential, else what it is called."""
    role: str = "actor"
    """`actor` did it, `target` was done to, `means` was used for it."""


ENTITIES = (
    "identity", "key", "address", "device", "tenant", "conversation",
    "tool", "server", "document", "model", "prompt", "policy", "payload", "domain", "mount", "payee",
)  # fmt: skip


class Inside(msgspec.Struct, frozen=True, omit_defaults=True):
    """The hits of one kind inside an alert that is about somebody rather than about one kind."""

    kind: str
    severity: Severity
    """Of the gravest that had its way; of all, where the guard held every one off."""
    count: int = 1
    held_off: int = 0


class Alert(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="format", tag="afterguard.alert/1"):
    """What a person in the SOC is asked to look at: hits of one cause, once, however often they come.

    What a reader needs in every alert is always written, also where it is the default: those fields are made by a function.
    The id stays the same as long as it goes on: what comes later is the same alert with a higher revision.
    """

    id: str
    """al- and 32 hex digits: hash of the fingerprint and the second it began."""
    fingerprint: str
    """Hash of what makes it one: kind, cause, and whose. Suppressions and dispositions stick to it."""
    kind: str
    """As Hit.kind."""
    title: str
    severity: Severity
    confidence: Confidence
    first_seen: float
    last_seen: float
    observed: float
    """When Afterguard told of this revision; event times are the two above. Seconds since the epoch, UTC."""
    app: str
    tenant: str = msgspec.field(default_factory=lambda: "default")
    raised: float = 0.0
    """When it was first told; `observed` is of this revision."""
    revision: int = msgspec.field(default_factory=lambda: 1)
    state: str = msgspec.field(default_factory=lambda: "new")
    """`new`, `updated` or `closed`."""
    detector: str = ""
    rule: str = ""
    """What matched, for a person."""
    would_change: str = ""
    cause: str = ""
    taxonomies: tuple[str, ...] = ()
    data_classes: tuple[str, ...] = ()
    excerpt: str = ""
    """Redacted, at most 240 characters."""
    count: int = msgspec.field(default_factory=lambda: 1)
    """Exchanges that it stands for."""
    held_off: int = 0
    """Of those, how many the guard blocked, edited or withheld."""
    hits: tuple[Inside, ...] = ()
    """What it holds, the worst first, where that is not its own kind alone; at most 50 kinds."""
    exchanges: tuple[str, ...] = ()
    """The first ids, at most 20; `count` is not cut."""
    entities: tuple[Entity, ...] = ()
    """At most 250; `touched` counts them all."""
    touched: dict[str, int] = {}
    """The blast radius: kind of entity -> how many distinct ones."""
    at_least: tuple[str, ...] = ()
    """Kinds of which more were touched than could be kept apart: `touched` is then the least there were."""
    likelihood: float = 0.5
    """That it is what its title says, 0 to 1: the detector's precision as measured or as dispositions taught."""
    money: Range | None = None
    """What it can cost, a row of `risk`; None where nobody priced its kind."""
    currency: str = ""
    risk: int = 0
    """0 to 100, of likelihood, blast radius and money."""
    why: dict[str, float | str] = {}
    """What is usual, what was seen, since when (watch.alarm.Why), where it is about behaviour."""
    mount: str = ""
    model: str = ""
    policy: str = ""
    """Revision of the policy that judged the last one."""
    owner: str = ""
    """Whom it is routed to."""
    case: str = ""
    """The incident it belongs to."""
    linked_by: str = ""
    """What it shares with the others of that incident; "" for the first."""
    suppressed: str = ""
    """Why it is told to nobody, where it is not."""
    disposition: str = ""
    """What a person said of it: `true_positive`, `false_positive`, `benign_positive`, `duplicate`; "" nobody did."""
    drill: str = ""
    """The drill that it is of; "" for the real thing."""


class Drill(msgspec.Struct, frozen=True, omit_defaults=True):
    """An attack of our own through the guard: whose lines are its, and from when to when."""

    run: str
    app: str
    identities: tuple[str, ...]
    """Pseudonyms under which the guard knows it."""
    begins: float
    ends: float


class Deed(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="format", tag="afterguard.deed/1"):
    """What was done about an incident and what came of it, or that somebody agreed to it: as a SOC is told it."""

    id: str
    """Of this telling; the same however often it is told."""
    what: str
    """done, partly (not everywhere), failed, unsure, undone, undo_partly, not_undone, expired; approved, denied, break_glass."""
    at: float
    """Seconds since the epoch, UTC."""
    who: str
    app: str
    tenant: str = msgspec.field(default_factory=lambda: "default")
    severity: Severity = msgspec.field(default_factory=lambda: Severity.info)
    case: str = ""
    act: str = ""
    """Id of the act: what was done, agreed to and undone of one act shares it."""
    do: str = ""
    """Kind of act, as playbooks name it; `call` for a call that the guard held."""
    on: str = ""
    target: str = ""
    phase: str = ""
    playbook: str = ""
    step: str = ""
    title: str = ""
    says: str = ""
    """What the world said of it, why it failed, or why somebody agreed."""
    asked: str = ""
    """Of an approval: who asked for it."""
    until: float = 0.0
    """When it ends by itself; 0: it does not."""
    conversation: str = ""
    exchange: str = ""
    """Of a call that was held: its exchange."""
    tools: tuple[str, ...] = ()
    """Of a call that was held."""


class Found(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="format", tag="afterguard.found/1"):
    """A finding with whose it is and when, as a SOC is told it."""

    id: str
    app: str
    at: float
    """Seconds since the epoch, UTC."""
    finding: Finding
    is_set_aside: bool = False
    """Whether a person set it aside, with a reason."""


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of a case's timeline. Nothing is ever taken away from it; what is undone is one more entry."""

    at: float
    """When it happened; seconds since the epoch, UTC."""
    recorded: float
    who: str
    """A person, or `afterguard`."""
    what: str
    """alert, evidence, decision, approval, action, verification, task, note, clock, merge, split, undo, ticket."""
    text: str
    ref: str = ""
    """Id of the alert, action, task, evidence it speaks of."""


class Case(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="format", tag="afterguard.case/1"):
    """An incident as responders work it: alerts that belong together, and everything that was done."""

    id: str
    """UUIDv7."""
    title: str
    severity: Severity
    opened: float
    updated: float
    app: str
    tenant: str = msgspec.field(default_factory=lambda: "default")
    status: str = msgspec.field(default_factory=lambda: "open")
    """open, contained, eradicated, recovered, closed, merged."""
    alerts: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    entities: tuple[Entity, ...] = ()
    owner: str = ""
    playbooks: tuple[str, ...] = ()
    money: Range | None = None
    """What it can cost."""
    currency: str = ""
    spent: float = 0.0
    """What it has cost so far, as far as it is counted: wasted tokens, hours, money moved."""
    timeline: tuple[Entry, ...] = ()
    merged_into: str = ""
    drill: str = ""
    """The drill that it is of; "" for the real thing."""
