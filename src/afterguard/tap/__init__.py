"""Recorded AI traffic -> Exchange. `read(path, name, note)` takes any log, recognised by its content; see tap/reading.py."""

from afterguard.tap.reading import read, recognise

__all__ = ["read", "recognise"]
