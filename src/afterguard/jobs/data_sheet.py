"""The data-protection sheet: what was read, what of it is kept, where, who can read it, how long.

In: an AppResult and the configuration. Out: DataUse rows and one sentence. It describes what the code does; change both together.
"""

from __future__ import annotations

from collections.abc import Iterator

from afterguard.config import Config
from afterguard.model import AppResult, DataUse

OWNER_ONLY = "whoever can read the store file (mode 0600: the account that ran this)"


def rows(result: AppResult, config: Config) -> Iterator[DataUse]:
    """Rows for one application."""
    survey, past = result.survey, result.lookback
    where = (config.store.url or "the store in the user's data folder") if config.store.enabled else "nowhere"
    stays = "until the run is deleted" if config.store.enabled else "not at all"
    yield DataUse(
        what=f"{survey.files:,} files of {survey.app.name} ({survey.bytes / 1e6:.1f} MB)",
        classes="source code, configuration, access logs",
        kept="names, paths, line numbers and redacted lines; secrets only as a hash",
        where=where,
        who=OWNER_ONLY,
        how_long=stays,
    )
    if past is not None:
        present = (
            ", ".join(f"{name} ({count} distinct)" for name, count in sorted(past.inventory.items()))
            or "none recognised"
        )
        yield DataUse(
            what=f"{past.exchanges:,} recorded exchanges of {survey.app.name}",
            classes=f"prompts and answers; personal data present: {present}",
            kept="redacted excerpts of suspected incidents, salted hashes of identifiers",
            where=where,
            who=OWNER_ONLY,
            how_long=stays,
            legal_note="callers appear only as keyed hashes; the key lies beside the store",
        )
    if config.evidence.keep:
        yield DataUse(
            what=f"original text of suspected incidents of {survey.app.name}",
            classes="prompts and answers in full",
            kept="encrypted originals (AES-256-GCM, one key per application)",
            where=config.evidence.folder or "evidence/ beside the store",
            who="holders of the wrapping key; every reading is logged with name and reason",
            how_long=", ".join(f"{k} {v} days" for k, v in sorted(config.evidence.retention_days.items()))
            or "the default periods",
        )


def retention(config: Config) -> str:
    """One sentence for the report."""
    if not config.store.enabled:
        return "Nothing of this run was recorded."
    kept = (
        "encrypted originals of suspected incidents are kept as configured"
        if config.evidence.keep
        else "no original text is kept"
    )
    return f"Results are recorded in redacted form; {kept}."
