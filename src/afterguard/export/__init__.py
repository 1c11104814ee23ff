"""Alerts, exchanges and findings to the SOC: formats, and sinks that deliver at least once with a write-ahead spool each."""
