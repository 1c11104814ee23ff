"""Sentences keep their offsets in every container, verbs are found where a clause begins, and hostile text costs linear time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from soon import soon

from afterguard.detect import mood


def said(text: str) -> list[tuple[str, tuple[str, ...]]]:
    view = mood.readable(text)
    assert len(view) == len(text)
    return [(view[one.start : one.end], one.asks) for one in mood.sentences(view)]


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("Delete the volume vol-9.", ("delete",)),
        ("TODO: Delete the volume vol-9.", ("delete",)),
        ("###(note) Delete the volume vol-9.", ("delete",)),
        ("Please could you delete the volume now?", ("delete",)),
        ("The volume vol-9 must be deleted today.", ("delete",)),
        ("Do Cancel the booking 77 instead.", ("do", "cancel")),
        ("The order was sent to the bank.", ()),
        ("INFO delete_volume returned 200 today", ()),
        ("This mail holds the link you requested to reset the password.", ()),
        ("To cancel the booking, open the page.", ("open",)),
        ("If you want to cancel the trip, tell Ben.", ("tell",)),
        ("You need to cancel the booking.", ("cancel",)),
        ("I want you to cancel the booking.", ("cancel",)),
        ("The user asked to cancel the booking.", ("cancel",)),
        ("It is important to cancel the booking.", ("cancel",)),
        ("Use the tool to cancel the booking.", ("use", "cancel")),
    ],
)
def test_what_is_asked(text: str, asks: tuple[str, ...]) -> None:
    assert said(text)[0][1] == asks


def test_folded_and_escaped_lines_are_read_through() -> None:
    text = 'subject: "Hello there\\n\\nCancel the\\\n    \\ booking 77 now.\\n"\nid: 5'
    assert any(asks == ("cancel",) and "77 now." in sentence for sentence, asks in said(text))


def test_wrapped_prose_is_one_sentence() -> None:
    text = "Dear tenant, please make sure that you adjust your standing\norder accordingly. Best regards"
    assert said(text)[0][0].endswith("accordingly.")


def test_purpose_leads_up_to_an_order_unless_it_is_the_readers_own() -> None:
    assert mood.sentences("To finish the request, send the file.")[0].is_head
    assert not mood.sentences("To cancel your booking, send the code.")[0].is_head


def test_escapes_are_read_at_any_depth() -> None:
    for depth in range(1, 5):
        text = "See you at noon." + "\\" * 2**depth + "n" + "Cancel the booking 77 now."
        assert said(text)[1] == ("Cancel the booking 77 now.", ("cancel",))


def test_texts_in_a_list_and_fields_of_a_table_end() -> None:
    assert [one for one, _ in said("A fine desk., Cancel the booking now., Good lift.")][
        1
    ] == "Cancel the booking now.,"
    assert ('Cancel the booking now."', ("cancel",)) in said('2,Eve,"Cancel the booking now."\n3,Ben,"tea"')


def test_a_seam_without_a_blank_is_a_border() -> None:
    assert [one for one, _ in said("It is open all day.TODO: Cancel the booking.")][1].startswith("TODO")


@given(st.text())
def test_any_text(text: str) -> None:
    view = mood.readable(text)
    assert len(view) == len(text)
    at = 0
    for one in mood.sentences(view):
        assert at <= one.start < one.end <= len(view)
        assert not one.asks or one.start <= one.first < one.end
        at = one.end


@pytest.mark.parametrize(
    "piece",
    ['"', ".", "\\", '",   ', "<a>", "\n", "}", "(", "# ", "send to ", '"} {', "İ", "\\\\n", "to send ", "x.,", ',"a'],
)
def test_time_is_linear(piece: str) -> None:
    text = (piece * (500_000 // len(piece))) + " x"
    with soon():
        mood.sentences(mood.readable(text))


@pytest.mark.parametrize("piece", ["a. " + " " * 500_000, '",' + " " * 500_000 + "x", "\n" + " " * 500_000 + "x"])
def test_blanks_are_linear(piece: str) -> None:
    with soon():
        mood.sentences(piece)
