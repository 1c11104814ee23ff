"""Alerts, cases, decisions and findings to the SOC: formats (one file each, listed in `formats`; pure), and sinks that deliver at least once with a write-ahead spool each."""
