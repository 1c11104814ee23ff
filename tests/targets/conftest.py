"""Puts the servers beside this file where the tests find them: `sys.modules["targets_servers"]`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

if "targets_servers" not in sys.modules:
    _spec = importlib.util.spec_from_file_location("targets_servers", Path(__file__).with_name("servers.py"))
    assert _spec and _spec.loader
    sys.modules["targets_servers"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["targets_servers"])
