"""The judge's weights from disk, and the bench on which its second tier works in time.

In: a folder with judge.json. Out: a Judge (`load`), judgements within a deadline (`Bench`).
"""

from afterguard.judges.bench import Bench
from afterguard.judges.load import load, shipped
from afterguard.judges.tensors import tensors

__all__ = ["Bench", "load", "shipped", "tensors"]
