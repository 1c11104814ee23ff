"""`afterguard export`: what goes to the SOC."""

from __future__ import annotations

from cyclopts import App

export = App(
    name="export", help="What goes to the SOC: sinks, their spools, their dead letters.", help_format="plaintext"
)
for name in ("status", "redrive", "test"):
    export.command(f"afterguard.cli.export_sinks:{name}", name=name)
