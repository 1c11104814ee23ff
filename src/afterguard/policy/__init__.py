"""Exchange + Hits -> Verdict: policies in YAML, in Sigma's grammar, with their tests inside; and the draft a person starts from.

`load_policy(text, name)` and `shipped(name)` give a Policy, `decide(exchange, hits, policy, at, facts)` a Verdict. Everything is pure:
bytes, sockets, clocks and files belong to the callers.
"""

from afterguard.policy.decide import decide
from afterguard.policy.load import Policy, Settings, settings
from afterguard.policy.load import load as load_policy
from afterguard.policy.shipped import SHIPPED, shipped, shipped_text

__all__ = ["SHIPPED", "Policy", "Settings", "decide", "load_policy", "settings", "shipped", "shipped_text"]
