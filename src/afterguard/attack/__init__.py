"""Attacks on an application that is live, as conversations, and what shows that they worked. Pure: no sockets, no clock.

In: an Aim, Replies. Out: Prompts, Results. See contract.py, trial.py, oracles.py; who carries prompts there and back is jobs/attack.py.
"""
