"""Protocols between bytes and the pieces of an Exchange. Pure: decoded JSON or chunks in, `Parts` out; no files, no clock."""
