"""Afterguard: security for AI applications that are already in production."""

__version__ = "0.1.0"
