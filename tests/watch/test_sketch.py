"""Likeness without words: near for what is alike, equal for one template, the same in every process."""

from __future__ import annotations

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from afterguard.watch.sketch import distance, shape, sketch

TRAIN = "When does the next train to Lyon leave from platform 3 and how much is a second class ticket with a reduction card?"
OTHER = "Please write a poem about the sea, the wind and a lonely lighthouse keeper who longs for his daughter."


def test_near_texts_are_near_and_strangers_are_far() -> None:
    near = TRAIN.replace("Lyon", "Geneva").replace("second", "first")
    assert distance(sketch(TRAIN), sketch(near)) < 16 < 22 < distance(sketch(TRAIN), sketch(OTHER))


def test_a_template_has_one_shape() -> None:
    rows = [f"My order {n} of {day} has not arrived, please call {name} at {name.lower().replace(' ', '.')}@corp.example" for n, day, name in
            ((12, "3.4.", "Anna Meier"), (99_123, "12.11.", "Bo Li"), (7, "1/2", "Zoë"))]  # fmt: skip
    assert len({shape(row) for row in rows}) == 1
    assert shape(rows[0]) != shape(TRAIN) and shape("") == 0 == sketch("") == sketch("12 !?")


@given(st.text(max_size=300))
def test_any_text_has_64_bits(text: str) -> None:
    assert 0 <= sketch(text) < 1 << 64 and 0 <= shape(text) < 1 << 64


def test_another_process_says_the_same() -> None:
    said = f"from afterguard.watch.sketch import shape, sketch; print(sketch({TRAIN!r}), shape({TRAIN!r}))"
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(sketch(TRAIN)), str(shape(TRAIN))]
