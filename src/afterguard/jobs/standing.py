"""How far a policy may go in a running guard: what people promoted it to, and whether what it does still fits what they expected.

In: the policy file's promotion (PATH.promoted.json), counts of exchanges. Out: the strictest mode that is allowed, and why. Going forward takes two people; only going back is automatic.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from afterguard.errors import AfterguardError
from afterguard.jobs import promote
from afterguard.policy.interval import should_roll_back
from afterguard.policy.load import Policy

NONE_NEEDED = "no promotion is asked for"


class Standing(NamedTuple):
    """What a policy may do now. `cap` "shadow" keeps it from acting."""

    cap: str
    why: str
    expected: tuple[float, float] | None = None
    """Share of exchanges it is expected to act on."""

    def after(self, acted: int, seen: int) -> Standing:
        """The standing after what was counted: back to shadow where it acts more than was expected."""
        if self.cap or self.expected is None or not should_roll_back(self.expected, acted, seen):
            return self
        low, high = self.expected
        return Standing(
            "shadow", f"acted on {acted} of {seen} exchanges, expected {low:.2%} to {high:.2%}: rolled back"
        )


def standing(policy: Policy | None, file: str, required: bool, trusted: list[str]) -> Standing:
    """What people allowed. Without `required`, a policy nobody promoted may do what its mode says."""
    if policy is None:
        return Standing("", NONE_NEEDED)
    place = Path(file + promote.SUFFIX)
    try:
        found = promote.read(place.read_bytes(), str(place))
    except FileNotFoundError:
        return weighed(policy, None, required, trusted)
    except (OSError, AfterguardError) as error:
        return Standing("shadow" if required else "", f"{place}: {error}")
    return weighed(policy, found, required, trusted)


def weighed(policy: Policy, found: promote.Promotion | None, required: bool, trusted: list[str]) -> Standing:
    """The same, where the promotion did not come from a file."""
    if found is None:
        return Standing("shadow", "nobody promoted it") if required else Standing("", NONE_NEEDED)
    wrong = promote.problems(found, policy, trusted)
    if wrong:
        return Standing("shadow" if required else "", "; ".join(wrong))
    expected = (found.expected.low, found.expected.high) if found.expected else None
    cap = "" if found.stage in promote.ACTING else "shadow"
    return Standing(cap, f"promoted to {found.stage} by {', '.join(one.name for one in found.signatures)}", expected)
