"""Case -> acts -> proof. plan (pure), engine and what it acts through, journal, cases, tickets, clocks.

In: alerts, playbooks, people. Out: what was done, asked of the world again, signed, and how to undo it. evidence.py (one signed bundle) and exercise.py (tabletop, live fire) have their places here.
"""
