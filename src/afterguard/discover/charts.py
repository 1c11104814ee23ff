"""Helm: which values belong to a template, and the template with them put in.

In: sources of one tree. Out: a Source that reads like a manifest, lines unchanged. It runs no template function beyond
`default`, `quote` and a plain `toYaml`.
"""

from __future__ import annotations

from afterguard.code.document import Document
from afterguard.code.template import render
from afterguard.model import Source


def values_path(path: str) -> str:
    """The values file of a chart's template: beside the folder `templates`; "" for any other file."""
    head, found, _ = path.rpartition("/templates/")
    if not found and path.startswith("templates/"):
        return "values.yaml"
    return f"{head}/values.yaml" if found else ""


def rendered(source: Source, values: Document) -> Source:
    """The template with the values known; the same source where it holds none."""
    if b".Values." not in source.data:
        return source
    return Source(source.path, render(source.data, values), source.kind, source.size)
