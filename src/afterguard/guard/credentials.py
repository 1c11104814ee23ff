"""The guard's own AWS credentials, for requests that it signs anew: a client's signature names the guard's address, not Amazon's.

In: environment variables, or the shared credentials file, which is read again when it changes (that is how roles are renewed by the tools that renew them). Out: `Credentials`, or None.
It asks no metadata service.
"""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

REGION = re.compile(r"[a-z]{2}(?:-[a-z]{2,12}){1,3}-\d{1,2}")


class Credentials(NamedTuple):
    """What a signature is made with."""

    access_key: str
    secret_key: str
    session_token: str = ""


class Source:
    """Where credentials come from."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self._stamp = -1
        self._kept: Credentials | None = None

    def current(self) -> Credentials | None:
        """The credentials that hold now."""
        told = self.environment
        if told.get("AWS_ACCESS_KEY_ID") and told.get("AWS_SECRET_ACCESS_KEY"):
            return Credentials(
                told["AWS_ACCESS_KEY_ID"], told["AWS_SECRET_ACCESS_KEY"], told.get("AWS_SESSION_TOKEN", "")
            )
        return self._from_file()

    def _from_file(self) -> Credentials | None:
        named = self.environment.get("AWS_SHARED_CREDENTIALS_FILE")
        home = self.environment.get("HOME")
        file = Path(named) if named else Path(home or "/") / ".aws" / "credentials"
        try:
            stamp = os.stat(file).st_mtime_ns
            if stamp != self._stamp:
                self._kept, self._stamp = _read(file, self.environment.get("AWS_PROFILE", "default")), stamp
        except (OSError, configparser.Error, UnicodeDecodeError):
            return self._kept
        return self._kept


def _read(file: Path, profile: str) -> Credentials | None:
    parser = configparser.RawConfigParser()
    parser.read_string(file.read_text(encoding="utf-8"))
    if not parser.has_section(profile):
        return None
    row = dict(parser.items(profile))
    if not row.get("aws_access_key_id") or not row.get("aws_secret_access_key"):
        return None
    return Credentials(row["aws_access_key_id"], row["aws_secret_access_key"], row.get("aws_session_token", ""))


def region_of(host: str, default: str = "us-east-1") -> str:
    """bedrock-runtime.eu-west-1.amazonaws.com, runtime.sagemaker.eu-west-1.amazonaws.com -> eu-west-1; also behind private endpoints and in China."""
    parts = host.lower().removesuffix(".cn").split(".")
    if parts[-2:] != ["amazonaws", "com"]:
        return default
    return next((part for part in reversed(parts) if REGION.fullmatch(part)), default)
