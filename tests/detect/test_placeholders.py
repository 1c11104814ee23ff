"""Values come back in their own conversation, in whatever form a model writes the placeholder, and in no other."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.detect.placeholders import KINDS, LONGEST, PATTERN, VALUE_CAP, Vault, held

KEY = b"k" * 32
FORMS = [
    "{}",
    "({})",
    '"{}"',
    "see {}, please",
    "**{}**",
    "`{}`",
]


def vault(conversation: str = "c1", app: str = "shop", **more: int) -> Vault:
    return Vault(KEY, app, conversation, **more)


def written(placeholder: str) -> list[str]:
    """Ways in which models write a placeholder."""
    bare = placeholder[1:-1]
    kind, _, digest = bare.partition("_")
    return [
        placeholder,
        placeholder.lower(),
        placeholder.upper(),
        bare,
        bare.lower(),
        f"\\[{bare}\\]",
        f"\\[{kind}\\_{digest}\\]",
        f"\\\\[{bare}\\\\]",
        f"[ {bare} ]",
        f"<{bare}>",
        f"({bare})",
        f"{{{bare}}}",
        f"\u3010{bare}\u3011",
        f"[{kind} {digest}]",
        f"[{kind}-{digest}]",
        f"&#91;{bare}&#93;",
    ]


@pytest.mark.parametrize("kind", [*KINDS, "anything"])
def test_every_form_comes_back(kind: str) -> None:
    one = vault()
    placeholder = one.hide(kind, "ann.meyer@mail.example")
    for way in written(placeholder):
        assert one.shown(f"Write to {way}.") == "Write to ann.meyer@mail.example.", way
    assert one.shown(f"a [{placeholder[1:-1]} b") == "a [ann.meyer@mail.example b"


def test_a_value_is_escaped_where_it_stands() -> None:
    one = vault()
    placeholder = one.hide("secret", 'a"b\\c\nd')
    assert json.loads(one.shown(json.dumps({"k": f"x {placeholder}"}), in_json=True)) == {"k": 'x a"b\\c\nd'}
    assert one.shown(f"https://x.example/?q=%5B{placeholder[1:-1]}%5D") == "https://x.example/?q=a%22b%5Cc%0Ad"
    assert json.loads(one.shown(json.dumps(f"\\[{placeholder[1:-1]}\\]"), in_json=True)) == 'a"b\\c\nd'


def test_any_worker_makes_the_same() -> None:
    assert vault().hide("email", "a@b.example") == vault().hide("email", "a@b.example")
    assert vault("c2").hide("email", "a@b.example") != vault().hide("email", "a@b.example")
    assert vault(app="b").hide("email", "a@b.example") != vault(app="a").hide("email", "a@b.example")
    assert Vault(b"z" * 32, "shop", "c1").hide("email", "a") != vault().hide("email", "a")
    assert Vault(KEY, "ab", "c").hide("email", "x") != Vault(KEY, "a", "bc").hide("email", "x")


def test_what_is_not_in_the_vault_stays() -> None:
    one = vault()
    one.hide("email", "a@b.example")
    for typed in ("[EMAIL_00000000]", "EMAIL_deadbeef", "[PHONE_" + one.hide("email", "a@b.example")[7:], "[EMAIL_]"):
        assert one.shown(typed) == typed
    assert vault().shown("[EMAIL_00000000]") == "[EMAIL_00000000]"


def test_two_values_never_share_a_placeholder(monkeypatch: pytest.MonkeyPatch) -> None:
    def same_start(_key: bytes, value: bytes, _name: str) -> bytes:
        return b"\xaa" * 4 + value.ljust(28, b"\0")[:28]

    one = vault()
    monkeypatch.setattr("afterguard.detect.placeholders.hmac.digest", same_start)
    first, second = one.hide("name", "Ann"), one.hide("name", "Bob")
    assert first == "[NAME_aaaaaaaa]" and len(second) > len(first)
    assert one.shown(f"{first} {second}") == "Ann Bob" and one.hide("name", "Bob") == second


def test_memory_is_bounded() -> None:
    one = vault(limit=50)
    names = [one.hide("phone", f"+49 30 {number}") for number in range(200)]
    assert len(one) == 50 and one.forgotten == 150
    assert one.shown(names[0]) == names[0] and one.shown(names[-1]) == "+49 30 199"
    long = one.hide("secret", "x" * (VALUE_CAP + 1))
    assert len(long) < 30 and one.shown(long) == long and one.forgotten == 151
    assert one.hide("phone", "+49 30 0") == names[0] and one.shown(names[0]) == "+49 30 0"
    assert one.forgotten == 151, "one came back, and another went for it"


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        Vault(b"short", "a", "b")


VALUES = st.text(min_size=1, max_size=60)
KIND = st.sampled_from(sorted(KINDS))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(KIND, VALUES), min_size=1, max_size=8), st.text(max_size=40), st.data())
def test_one_conversation_never_answers_for_another(
    rows: list[tuple[str, str]], text: str, data: st.DataObject
) -> None:
    mine, other = vault("mine"), vault("other")
    said = text.join(mine.hide(kind, value) for kind, value in rows)
    for kind, value in rows:
        other.hide(kind, value + "!")
    assert other.shown(said) == said
    way = data.draw(st.sampled_from(written(mine.hide(*rows[0]))))
    assert other.shown(way) == way and mine.shown(way) == rows[0][1]


@settings(max_examples=200, deadline=None)
@given(KIND, VALUES)
def test_a_placeholder_is_short_and_says_nothing(kind: str, value: str) -> None:
    placeholder = vault().hide(kind, value)
    assert len(placeholder) <= LONGEST and PATTERN.fullmatch(placeholder)
    if len(value) > 3:
        assert value.lower() not in placeholder.lower() or value.lower() in KINDS[kind].lower()


@settings(max_examples=200, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=5), st.text(max_size=20), st.sampled_from(FORMS))
def test_round_trip(values: list[str], between: str, form: str) -> None:
    one = vault()
    hidden = between.join(form.format(one.hide("name", value)) for value in values)
    plain = between.join(form.format(value) for value in values)
    # A backslash before a placeholder is taken for a writer's escape of its bracket, and goes with it.
    if (
        not between.endswith("\\")
        and not PATTERN.search(between)
        and not any(PATTERN.search(value) for value in values)
    ):
        assert one.shown(hidden) == plain


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from([" ", "\n", "Hello, ", "E ", "[ ", "% "]))
def test_a_stream_cut_anywhere_shows_the_same(data: st.DataObject, before: str) -> None:
    one = vault()
    way = data.draw(st.sampled_from(written(one.hide("email", "ann@mail.example"))))
    whole = f"{before}{way} and [{way}] so"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    out = kept = ""
    for start, end in zip([0, *cuts], [*cuts, len(whole)]):
        kept += whole[start:end]
        at = held(kept)
        out += one.shown(kept[:at])
        kept = kept[at:]
    assert out + one.shown(kept) == one.shown(whole)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300))
def test_hostile_input_never_raises(text: str) -> None:
    one = vault()
    one.hide("email", "a@b.example")
    one.hide("name", "\ud800x")
    assert isinstance(one.shown(text), str) and isinstance(one.shown(text, in_json=True), str)
    assert 0 <= held(text) <= len(text)


def test_surrogates_are_escaped_in_json() -> None:
    one = vault()
    placeholder = one.hide("name", "\ud800x")
    assert json.loads(one.shown(f'"{placeholder}"', in_json=True))


def test_long_texts_take_linear_time() -> None:
    one = vault()
    for number in range(60):
        one.hide("email", f"{number}@b.example")
    for text in ("[EMAIL_" * 40_000, "EMAIL_aaaaaaa" * 20_000, "\\" * 200_000, "[ " * 100_000, "%5B" * 60_000):
        assert one.shown(text) == text
        assert 0 <= held(text) <= len(text)
