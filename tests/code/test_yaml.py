"""YAML: lines, anchors, tags, templates, and what is left of a broken file."""

from __future__ import annotations

from typing import Any

import yaml as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.code import yaml
from afterguard.code.document import Document, Node
from afterguard.code.template import render
from afterguard.model import Source


def parse(text: str) -> Document:
    return yaml.parse(Source("x.yaml", text.encode(), "yaml"))


def plain(node: Node) -> Any:
    if node.kind == "map":
        return {key.text: plain(value) for key, value in node.fields}
    return [plain(item) for item in node.items] if node.kind == "list" else node.text


def test_every_node_has_its_physical_line() -> None:
    root = parse("# head\r\na: 1\r\nb:\r\n  - x\r\n  - {y: z}\r\nc: |\r\n  one\r\n  two\r\nd: end\r\n").roots[0]
    assert [(key.text, key.line) for key, _ in root.fields] == [("a", 2), ("b", 3), ("c", 6), ("d", 9)]
    items = root.get("b")
    assert items is not None and [item.line for item in items.items] == [4, 5]


def test_unicode_line_breaks_do_not_move_lines() -> None:
    root = parse("a: 'x\u2028y'\nb: 2\n").roots[0]
    assert [key.line for key, _ in root.fields] == [1, 2]


def test_documents_anchors_and_merge_keys() -> None:
    document = parse("base: &b {k: v, z: 1}\nown:\n  <<: *b\n  k: w\n---\nlist: [a]\n")
    assert plain(document.roots[0])["own"] == {"z": "1", "k": "w"}
    assert plain(document.roots[1]) == {"list": ["a"]}


def test_of_merged_maps_the_earlier_wins() -> None:
    root = parse("a: &a {k: 1}\nb: &b {k: 2}\nc: {<<: [*a, *b]}").roots[0]
    assert root.string("c", "k") == "1"


def test_keys_keep_their_spelling_and_repeat() -> None:
    root = parse("on: push\nNo: 1\na: 1\na: 2\n").roots[0]
    assert [key.text for key, _ in root.fields] == ["on", "No", "a", "a"]
    assert root.string("a") == "2"


def test_tags_stay_and_references_are_unresolved() -> None:
    root = parse(
        "a: !Ref Model\nb: !Sub 'x-${Y}'\nc: !Sub plain\nd: !GetAtt a.b\ne: !reference [a, b]\nf: !!str 1\n"
    ).roots[0]
    assert [(value.tag, value.resolved) for _, value in root.fields] == [
        ("!Ref", False), ("!Sub", False), ("!Sub", True), ("!GetAtt", False), ("!reference", False), ("", True),
    ]  # fmt: skip


def test_scalars_know_their_kind() -> None:
    root = parse("a: true\nb: 1.5e3\nc: null\nd: '1'\ne: yes\nf: 1.2.3\ng: ~\nh: ''\n").roots[0]
    assert [value.kind for _, value in root.fields] == [
        "bool",
        "number",
        "null",
        "text",
        "text",
        "text",
        "null",
        "text",
    ]


def test_a_helm_template_reads_with_its_own_lines() -> None:
    text = (
        'apiVersion: v1\n{{- if .Values.on }}\nkind: {{ .Values.kind | default "X" }}\n{{- end }}\n'
        'spec:\n  {{- with .Values.a }}\n  {{- toYaml . | nindent 4 }}\n  {{- end }}\n  image: "{{ .Values.r }}:{{ .Values.t }}"\n'
    )
    document = parse(text)
    root = document.roots[0]
    assert not document.errors
    image = root.get("spec", "image")
    assert image is not None and (image.text, image.line, image.resolved) == (
        "{{ .Values.r }}:{{ .Values.t }}",
        9,
        False,
    )
    assert root.string("kind") == '{{ .Values.kind | default "X" }}'


def test_values_are_put_in_and_lines_stay() -> None:
    values = parse("image: {repo: vllm/vllm-openai, tag: v1}\nargs: [--model, m]\nname: n\n")
    text = b'i: "{{ .Values.image.repo }}:{{ .Values.image.tag | default "z" }}"\nq: {{ .Values.name | quote }}\nd: {{ .Values.no | default "dd" }}\nargs:\n  {{- toYaml .Values.args | nindent 2 }}\nend: 1\n'
    root = yaml.parse(Source("t.yaml", render(text, values), "yaml")).roots[0]
    assert plain(root) == {"i": "vllm/vllm-openai:v1", "q": "n", "d": "dd", "args": ["--model", "m"], "end": "1"}
    assert root.fields[-1][0].line == 6


def test_workflow_expressions_are_text() -> None:
    root = parse("key: ${{ secrets.OPENAI_API_KEY }}\nrun: |\n  echo ${{ a }}\n  ${{ b }}\n").roots[0]
    assert root.string("key") == "${{ secrets.OPENAI_API_KEY }}"
    assert root.string("run") == "echo ${{ a }}\n${{ b }}\n"


def test_jinja_lines_are_passed_over() -> None:
    root = parse("{% if x %}\na: 1\n{% endif %}\nb: {{ c }}\n").roots[0]
    assert [key.line for key, _ in root.fields] == [2, 4]


def test_a_broken_document_keeps_what_came_before_and_after() -> None:
    document = parse("a: 1\nb: [\n---\nc: 3\n")
    assert document.errors and document.errors[0][0] == 3
    assert document.roots[-1].string("c") == "3"
    assert document.roots[0].string("a") == "1"


@settings(max_examples=80, deadline=None)
@given(
    st.recursive(
        st.one_of(st.text("abc xyz:-#'\"é", max_size=12), st.integers(-99, 999)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=4), st.dictionaries(st.text("abcd", min_size=1, max_size=4), inner, max_size=4)
        ),
        max_leaves=12,
    )
)
def test_it_reads_what_the_reference_writes(value: Any) -> None:
    document = parse(reference.safe_dump(value, allow_unicode=True))
    assert not document.errors
    assert plain(document.roots[0]) == _texts(value)


def _texts(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _texts(inner) for key, inner in value.items()}
    return [_texts(inner) for inner in value] if isinstance(value, list) else str(value)
