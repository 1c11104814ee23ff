"""Recorded AI traffic -> Exchange.

`read(path, name, note)` takes any log, recognised by its content; `load_mapping(path)` reads the file that describes a log
which no reader knows. See tap/reading.py and tap/mapping.py.
"""

from afterguard.tap.mapping import Mapping
from afterguard.tap.mapping import load as load_mapping
from afterguard.tap.reading import read, recognise

__all__ = ["Mapping", "load_mapping", "read", "recognise"]
