"""Attacks on predictive models: rows of features in, decisions and scores out.

The same outcomes, journal and leave as for words (attack/), with rows in place of sentences. Pure: no sockets, no clock.
"""
