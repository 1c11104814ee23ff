"""Files whose meaning stands in a file beside them: a chart's templates and its values, Terraform and its variables.

In: sources as they are walked. Out: those that can be read at once, and at the end the held ones with their neighbour's values
put in. Bounded: what does not fit is read as it stands.
"""

from __future__ import annotations

from collections.abc import Iterator

from afterguard.code import hcl
from afterguard.code.document import Document, Node
from afterguard.code.parse import Parsed, parse
from afterguard.code.yaml import parse as parse_yaml
from afterguard.discover import charts
from afterguard.model import Source

MAX_HELD = 32 << 20
"""Bytes of held files; later ones are read without their neighbours."""


class Neighbours:
    """What is held until the walk is over."""

    def __init__(self) -> None:
        self.templates: list[Source] = []
        self.terraform: dict[str, list[Source]] = {}
        self.values: dict[str, Document] = {}
        self.bytes = 0

    def holds(self, source: Source) -> bool:
        """Whether the source is kept back for `parsed`; a chart's values are noted in passing and not kept back."""
        name = source.path.rsplit("/", 1)[-1]
        if name in ("values.yaml", "values.yml") and len(source.data) < 1 << 20:
            self.values[source.path] = parse_yaml(source)
            return False
        is_template = b".Values." in source.data and bool(charts.values_path(source.path))
        is_terraform = source.kind == "hcl" and source.path.endswith((".tf", ".tfvars"))
        if not (is_template or is_terraform) or self.bytes + len(source.data) > MAX_HELD:
            return False
        self.bytes += len(source.data)
        if is_template:
            self.templates.append(source)
        else:
            self.terraform.setdefault(source.path.rpartition("/")[0], []).append(source)
        return True

    def parsed(self) -> Iterator[Parsed]:
        """The held files, each with what its neighbours say."""
        for source in self.templates:
            path = charts.values_path(source.path)
            values = self.values.get(path) or self.values.get(path.replace(".yaml", ".yml"))
            if values is None:
                yield parse(source)
                continue
            shown = parse(charts.rendered(source, values))
            yield Parsed(source, document=shown.document, errors=shown.errors)
        for group in self.terraform.values():
            yield from _terraform(group)


def _terraform(group: list[Source]) -> Iterator[Parsed]:
    """The files of one folder: defaults of its variables, overridden by its tfvars, and locals of every file."""
    named: dict[str, Node] = {}
    for source in group[:500]:
        if not source.path.endswith(".tfvars"):
            root = hcl.parse(source).roots
            named.update(hcl.defaults(root[0]) if root else {})
    for source in group:
        if source.path.endswith((".auto.tfvars", "terraform.tfvars")):
            roots = hcl.parse(source).roots
            named.update({f"var.{key.text}": value for key, value in roots[0].fields} if roots else {})
    for source in group:
        document = hcl.parse(source, named)
        yield Parsed(source, document=document, errors=document.errors)
