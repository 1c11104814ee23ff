"""Events of a streamed reply of an API that only a mapping describes.

In: decoded events in order. Out: pieces at the mapping's `delta`, and what a last event repeats of them at its `reply`. It frames no bytes; an event that the
mapping does not reach is read under the names that many streams use, and where it then still holds words nobody read, it counts as unjudged.
"""

from __future__ import annotations

import hashlib

from afterguard.wire import learned
from afterguard.wire.learned import Mapping
from afterguard.wire.pieces import TEXT, Piece, Plain, Said

SLOT = "mapped"


class Mapped:
    """Reader of one stream; takes the place of a dialect's own in pieces.Events."""

    __slots__ = ("delta", "digest", "is_begun", "plain", "reply")

    def __init__(self, mapping: Mapping) -> None:
        self.delta = mapping.delta
        self.reply = mapping.reply
        self.plain = Plain()
        self.digest = hashlib.blake2b(digest_size=16)
        """Of what was said so far: a whole reply at the end is a repeat only where it says the same."""
        self.is_begun = False

    def read(self, said: Said) -> bool:
        """Fill in what the event says; False where it holds words that nothing here reads."""
        event = said.event
        if self.delta:
            for place, text in learned.strings(event, self.delta):
                if text:
                    self._say(said, Piece(SLOT, TEXT, text, place))
        if said.pieces:
            return True
        if self.reply:
            for place, text in learned.strings(event, self.reply):
                if text:
                    self._whole(said, Piece(SLOT, TEXT, text, place))
        return bool(said.pieces or said.repeats) or self.plain.read(said) or not learned.prose(event)

    def _say(self, said: Said, piece: Piece) -> None:
        self.is_begun = True
        self.digest.update(piece.text.encode("utf-8", "surrogatepass"))
        said.pieces.append(piece)

    def _whole(self, said: Said, piece: Piece) -> None:
        same = hashlib.blake2b(piece.text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if self.is_begun and same == self.digest.digest():
            said.repeats.append(piece)
        else:
            said.pieces.append(piece._replace(slot=SLOT + "/reply"))
