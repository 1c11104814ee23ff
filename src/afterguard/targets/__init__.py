"""Applications under test: how to talk to them, as a file of their owner says.

In: TARGET.yaml, Prompts. Out: Replies. A reply that cannot be judged says why in a fixed word; nothing here raises for what a target does.
"""
