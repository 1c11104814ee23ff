"""A bound on what hostile input may cost, for tests that mean "not quadratic" and "has an end".

In: a block of code. Out: nothing, or a failure where it took more of the processor than any machine needs for work that grows with its input. The input must be so large that quadratic work takes minutes.
How fast something is, is shown in bench/.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

SECONDS = 20.0
"""Of the processor, not of the clock: others may be at work. What is asked for here takes a second or two at most."""


@contextlib.contextmanager
def soon(seconds: float = SECONDS) -> Iterator[None]:
    """Fails where the block takes longer."""
    began = time.process_time()
    yield
    took = time.process_time() - began
    assert took < seconds, f"{took:.1f} s of the processor, {seconds:.0f} at most"
