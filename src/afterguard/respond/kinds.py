"""What can be done in an incident: every kind of act, what it is about, how it is proven and how it is undone.

In: nothing. Out: KINDS. The words are those of playbooks (`do:`); how a kind is carried out stands with its adapter.
"""

from __future__ import annotations

from typing import NamedTuple

PHASES = ("evidence", "contain", "eradicate", "recover", "notify", "money")
"""In this order: nothing is contained before its evidence is kept."""


class Kind(NamedTuple):
    """One kind of act."""

    says: str
    on: tuple[str, ...]
    """Kinds of entities it can be about; "case" is the case itself."""
    through: str
    """Adapter: guard, files, vectors, registries, hook, person."""
    undo: str
    """What takes it back; "" where nothing has to be or can be taken back."""
    proof: str
    """How the world is asked whether it took effect."""
    harsh: int
    """0 touches nobody, 5 stops everybody."""
    measure: str = ""
    """Kind of the measure at the guard."""
    value: str = ""
    """What `value` stands for; "" where none is needed."""


PROBE = "a signed probe through the guard's own door, standing for the target"
ALIAS = "the registry is asked where the alias points"
ALIAS_BACK = "the alias is set to where it pointed, unless somebody moved it since"
LIFT = "the measure is left out of the guard's next sheet"

KINDS = {
    "snapshot": Kind("Keeps what there is of the target: decisions, policy, measures, the case.", ("case",), "files", "", "the file is read back and its hash compared", 0),
    "tighten_identity": Kind("Enforces the policy for one caller, whatever the route's mode.", ("identity", "key"), "guard", LIFT, PROBE, 1, "enforce_identity"),
    "tighten_route": Kind("Enforces the policy on one mount.", ("mount", "server"), "guard", LIFT, "the guard says the mount's mode", 2, "enforce_route"),
    "cap_quota": Kind("Leaves one caller so many requests a minute.", ("identity", "key"), "guard", LIFT, PROBE, 1, "quota", "requests a minute"),
    "quarantine_conversation": Kind("Refuses one conversation.", ("conversation",), "guard", LIFT, PROBE, 2, "deny_conversation"),
    "quarantine_identity": Kind("Refuses one caller.", ("identity", "key"), "guard", LIFT, PROBE, 3, "deny_identity"),
    "disable_tool": Kind("Takes a tool out of every offer and every reply.", ("tool",), "guard", LIFT, PROBE, 3, "tool_off"),
    "disable_server": Kind("Refuses everything for an MCP server's mount.", ("server",), "guard", LIFT, PROBE, 3, "deny_route"),
    "disable_route": Kind("Refuses everything for a mount: the feature is off.", ("mount",), "guard", LIFT, PROBE, 5, "deny_route"),
    "block_domain": Kind("Takes calls with a domain out of replies, and refuses replies with a link to it that carries data.", ("domain",), "guard", LIFT, PROBE, 2, "domain_off"),
    "deny_model": Kind("Refuses requests for a model.", ("model",), "guard", LIFT, PROBE, 3, "deny_model"),
    "pin_model": Kind("Sends requests for a model to the one that was agreed.", ("model",), "guard", LIFT, "a probe; the decision names the rule", 2, "pin_model", "the model that was agreed"),
    "pin_version": Kind("Sends a predictive model's requests to the version that was agreed.", ("mount",), "guard", LIFT, "a probe; the decision names the version", 2, "pin_version", "the version that was agreed"),
    "pin_prompt": Kind("Refuses on a mount whatever runs under other instructions than the revision that was agreed.", ("mount",), "guard", LIFT, "two probes: one with another system prompt is refused, one that stands for the agreed revision passes", 3, "pin_prompt", "the revision that was agreed, as decisions show it"),
    "roll_back_policy": Kind("Puts an earlier policy file in the place of the present one.", ("policy",), "files", "the file that was there is put back", "the file is read again, and the guard says its revision", 2, "", "path of the earlier policy"),
    "roll_back_model": Kind("Sets the alias of a registered model back to an earlier version.", ("model", "mount"), "registries", ALIAS_BACK, ALIAS, 2, "", "the version to go back to"),
    "roll_back_prompt": Kind("Sets the alias of a registered prompt back to an earlier version.", ("mount", "prompt"), "registries", ALIAS_BACK, ALIAS, 2, "", "the version to go back to"),
    "quarantine_document": Kind("Moves a document's vectors out of the collection that is searched.", ("document",), "vectors", "they are moved back, as they were", "the collection is asked again", 2),
    "freeze_writes": Kind("Stops the ingest into a vector store.", ("case",), "hook", "the hook is called with undo", "the hook's check is asked", 2),
    "rotate_secret": Kind("Makes a new secret and takes the old one out of use.", ("identity", "key"), "hook", "", "the old secret is refused: the hook's check", 3),
    "scan": Kind("Runs a scan or an attack set again.", ("case", "document", "model", "mount"), "hook", "", "the hook's check", 0),
    "restore": Kind("Rebuilds from clean provenance.", ("case", "document", "model"), "hook", "", "the hook's check", 2),
    "ticket": Kind("Opens or updates a ticket.", ("case",), "hook", "", "the reply names the ticket", 0),
    "page": Kind("Wakes somebody.", ("case",), "hook", "", "the reply says it was taken", 0),
    "post": Kind("Posts into a channel.", ("case",), "hook", "", "the reply says it was taken", 0),
    "call": Kind("Calls a hook of yours.", ("case", "identity", "key", "conversation", "tool", "server", "document", "model", "domain", "mount", "policy"), "hook", "the hook is called with undo, where it has one", "the hook's check", 3),
    "ask": Kind("Asks a person to do or decide something, and waits for the answer.", ("case",), "person", "", "a person's word, written down as such", 0),
}  # fmt: skip
