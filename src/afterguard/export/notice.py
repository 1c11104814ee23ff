"""Alerts about the export itself: events lost and counted, a canary that did not arrive.

In: what happened. Out: an Alert. Pure.
"""

from __future__ import annotations

from hashlib import sha256

from afterguard.model import Alert, Confidence, Severity

KIND = "export-trouble"


def about(title: str, text: str, now: float) -> Alert:
    """The alert. The same trouble in the same second is the same alert."""
    fingerprint = sha256(f"{KIND}\n{title}".encode()).hexdigest()[:32]
    return Alert(
        id="al-" + sha256(f"{fingerprint}\n{now:.0f}".encode()).hexdigest()[:32],
        fingerprint=fingerprint,
        kind=KIND,
        title=title,
        severity=Severity.high,
        confidence=Confidence.high,
        first_seen=now,
        last_seen=now,
        observed=now,
        app="afterguard",
        excerpt=text[:240],
    )
