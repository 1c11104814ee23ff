"""What words mean, for tier one: vectors of the base model for the rows of its tables, so that a word no row of training holds stands near its synonyms.

In: texts to take words from, the folder of the base model, the folding tables. Out: `Meanings`. A row of a table stands for all words that hash to it; its
vector is their mean, weighed by the logarithm of how many texts hold them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from transformers import AutoModel

from afterguard.detect.judge.tokens import ROWS_SIDE, ROWS_WORD, tokens
from afterguard.detect.judge.wordpiece import pieces
from tier_two import padded, vocabulary

SIZE = 96
"""Numbers of a vector: main directions of the base model's 384."""
WORD = re.compile(r"[^\W\d_]{1,32}")


class Meanings(NamedTuple):
    """float32; rows without a known word are zero."""

    word: np.ndarray
    side: np.ndarray


def meanings(texts: Iterable[str], base: Path, fold: np.ndarray, kind: np.ndarray) -> Meanings:
    """Vectors for words that two texts hold, and for the base model's own."""
    known = vocabulary(base)
    held: Counter[str] = Counter()
    for text in texts:
        held.update(set(WORD.findall(text.lower())))
    held.update(word for word in known if word.isalpha())
    words = sorted(word for word, count in held.items() if count >= 2 or word in known)
    vectors = _reduced(_encoded(words, known, base), np.array([held[word] for word in words]))
    out = Meanings(np.zeros((ROWS_WORD, SIZE)), np.zeros((ROWS_SIDE, SIZE)))
    weight = (np.zeros(ROWS_WORD), np.zeros(ROWS_SIDE))
    for word, vector in zip(words, vectors):
        read = tokens(word, fold, kind)
        if len(read.word) != 1:
            continue
        share = np.log1p(held[word])
        for table, total, row in zip(out, weight, (read.word[0], read.side[0])):
            table[row] += share * vector
            total[row] += share
    return Meanings(*((t / np.maximum(n, 1e-9)[:, None]).astype(np.float32) for t, n in zip(out, weight)))


@torch.no_grad()
def _encoded(words: list[str], known: dict[str, int], base: Path) -> np.ndarray:
    """(words, 384): the mean of the base model's last states over a word alone."""
    body = AutoModel.from_pretrained(str(base), add_pooling_layer=False, attn_implementation="eager").eval()
    ids = [[known["[CLS]"], *pieces(word, known, 12).ids, known["[SEP]"]] for word in words]
    out = np.zeros((len(words), body.config.hidden_size), np.float32)
    for at in range(0, len(words), 512):
        x, mask = padded(ids[at : at + 512])
        some = mask[..., None].float()
        state = body(input_ids=x, attention_mask=mask).last_hidden_state
        out[at : at + 512] = ((state * some).sum(1) / some.sum(1)).numpy()
    return out


def _reduced(vectors: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Directions of equal length around their mean, cut to the SIZE main directions of the most frequent words, with deviation one."""
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors -= vectors.mean(0)
    often = np.argsort(-held, kind="stable")[:20_000]
    main = np.linalg.svd(vectors[often], full_matrices=False)[2][:SIZE]
    out = vectors @ main.T
    return out / out.std()
