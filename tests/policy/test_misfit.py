"""What a file holds beside what it may hold: every settings file names the line, and the key that was meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from afterguard.errors import UsageError
from afterguard.jobs.bundle import sites_of
from afterguard.jobs.watch import routes
from afterguard.policy.misfit import fitted
from afterguard.respond import clocks, playbook, roles, settings

RESPOND = "format: afterguard.respond/1\n"
ROLES = "format: afterguard.roles/1\nroles: {}\n"
STORES = """vectors:
  old: {kind: postgres, url: postgresql://u@h/d, collection: t, distance: <=>}
  new:
    kind: qdrant
    url: http://h
    collection: t
"""


@pytest.mark.parametrize(
    ("load", "text", "says", "hint", "slug"),
    [
        (settings.load, RESPOND + "gaurd: {}\n", "f:2: no such key: gaurd", "did you mean 'guard'?", "bad-respond-settings"),
        (settings.load, RESPOND + "hooks:\n  a: {url: https://h}\n  b:\n    comand: [x]\n", "f:5: no such key: comand", "'command'", "bad-respond-settings"),
        (settings.load, RESPOND + STORES + "    distance: cos\n", "f:8: no such key: distance", "known: ", "bad-respond-settings"),
        (settings.load, RESPOND + STORES + "    colection: v\n", "f:8: no such key: colection", "'collection'", "bad-respond-settings"),
        (settings.load, RESPOND + "guard: {wait: soon}\n", "f:2: guard.wait: expected `float`, got `str`", "respond.md", "bad-respond-settings"),
        (settings.load, RESPOND + "a: [\n", "f:3: not YAML", "indentation", "bad-respond-settings"),
        (settings.load, "", "f:1: the file has no format", "add format", "bad-respond-settings"),
        (settings.load, "[a]", "f:1: the file: expected `object`, got `array`", "respond.md", "bad-respond-settings"),
        (roles.load, ROLES + "isuer: https://h\n", "f:3: no such key: isuer", "'issuer'", "bad-roles"),
        (roles.load, "format: afterguard.roles/1\nroles:\n  lead: {grops: [a]}\n", "f:3: no such key: grops", "'groups'", "bad-roles"),
        (roles.load, ROLES + "break_glass: {acount: a}\n", "f:3: no such key: acount", "'account'", "bad-roles"),
        (routes, "ownrs: []\n", "f:1: no such key: ownrs", "'owners'", "bad-routes"),
        (sites_of, "here: {mod: observe}\n", "f:1: no such key: mod", "'mode'", "bad-bundle"),
        (clocks.load, "format: afterguard.clocks/1\nclocks: []\nclock: 1\n", "f:3: no such key: clock", "'clocks'", "bad-clocks"),
        (playbook.load, "\ntitel: a\n", "f:2: no such key: titel", "'title'", "bad-playbook"),
    ],
)  # fmt: skip
def test_the_line_and_the_key_that_was_meant(load: Callable[[str, str], Any], text: str, says: str, hint: str, slug: str) -> None:  # fmt: skip
    with pytest.raises(UsageError) as told:
        load(text, "f")
    assert says in str(told.value) and hint in told.value.hint and told.value.slug == slug


words = st.one_of(st.sampled_from(["format", "hooks", "vectors", "kind", "postgres", "url", "guard", "points", "a.b", "...", "[0]", "`x`", "0"]), st.text(max_size=8))  # fmt: skip
values = st.recursive(st.none() | st.booleans() | st.integers() | words, lambda one: st.lists(one, max_size=3) | st.dictionaries(words, one, max_size=3), max_leaves=12)  # fmt: skip


@hypothesis_settings(deadline=None)
@given(values)
def test_whatever_stands_there_is_settings_or_one_sentence(value: Any) -> None:
    text = msgspec.json.encode(value).decode()
    try:
        fitted(text, "f", settings.Settings, see="s", slug="x")
    except UsageError as error:
        assert str(error).startswith("f") and error.slug == "x" and error.hint
