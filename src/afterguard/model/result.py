"""What a run over an application says: incidents, money, decisions, what was attacked and what changed."""

from __future__ import annotations

import msgspec

from afterguard.model.asset import App, Asset, Coverage, Finding
from afterguard.model.scale import Confidence, Severity
from afterguard.shares import Share, wilson


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
