"""Trains tier one: rows -> weights. The same tokens as in the package; torch only here.

In: rows (text, origin, class, weight, optional teacher margins), what words mean, a seed. Out: a dictionary of numpy arrays in the shape of TierOne. Runs on
one or two cores in minutes. A word's row is what training found for it plus a linear map of its meaning; the sum is what ships.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from afterguard.detect.judge.tier_one import AROUND, BLOCK, CHANNELS, CLASSES, ORIGINS, WINDOW
from afterguard.detect.judge.tokens import ROWS_PAIR, ROWS_SIDE, ROWS_TRIGRAM, ROWS_WORD, Tokens, tokens
from meanings import SIZE, Meanings

UNITS = 48
MOST = 1_600
"""Tokens of one text used in training."""
PLANTED = 3
"""Blocks from the beginning of a planted passage on in which the window that decides may begin."""


SPREAD = 0.01
"""Deviation of untrained rows: small, so that a word's meaning outweighs it."""


class Tied(nn.Module):
    """A table whose rows are their own numbers plus a learned map of fixed vectors."""

    def __init__(self, vectors: np.ndarray, channels: int) -> None:
        super().__init__()
        self.own = nn.Embedding(len(vectors), channels)
        self.map = nn.Linear(vectors.shape[1], channels, bias=False)
        self.register_buffer("vectors", torch.from_numpy(vectors))
        nn.init.normal_(self.own.weight, std=SPREAD)
        nn.init.normal_(self.map.weight, std=0.02)

    def forward(self, at: torch.Tensor) -> torch.Tensor:
        return self.own(at) + self.map(nn.functional.embedding(at, self.vectors))

    @property
    def weight(self) -> torch.Tensor:
        return self.own.weight + self.map(self.vectors)


class Net(nn.Module):
    def __init__(self, meanings: Meanings | None = None, channels: int = CHANNELS) -> None:
        super().__init__()
        c = channels
        known = meanings or Meanings(np.zeros((ROWS_WORD, SIZE), np.float32), np.zeros((ROWS_SIDE, SIZE), np.float32))
        self.word, self.before, self.after = Tied(known.word, c), Tied(known.side, c), Tied(known.side, c)
        self.pair = nn.Embedding(ROWS_PAIR, c)
        self.trigram = nn.EmbeddingBag(ROWS_TRIGRAM, c, mode="mean", include_last_offset=True)
        for table in (self.pair, self.trigram):
            nn.init.normal_(table.weight, std=SPREAD)
        self.bias = nn.Parameter(torch.zeros(c))
        self.hidden = nn.Linear(3 * c + len(ORIGINS), UNITS)
        self.out = nn.Linear(UNITS, len(CLASSES))
        self.drop = nn.Dropout(0.2)

    def forward(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """(logits of the deciding window (B, classes), margins (B, windows) with -1e9 where there is none). A batch that marks windows as
        `elsewhere` (B, windows) does not let those decide."""
        size, length = batch["word"].shape
        x = self.word(batch["word"]) + self.pair(batch["pair"]) + self.pair(batch["skip"])
        x = x + self.before(batch["before"]) + self.after(batch["after"]) * batch["has_after"][..., None]
        x = x + 2 * self.trigram(batch["trigram"], batch["cut"]).view(size, length, -1)
        x = torch.relu(x + self.bias) * batch["mask"][..., None]
        mean = x.sum(1) / batch["mask"].sum(1, keepdim=True)
        top = x.view(size, length // BLOCK, BLOCK, -1).amax(2)
        near, wide = _windows(top, WINDOW), _windows(top, AROUND)
        count = near.shape[1]
        origin = torch.nn.functional.one_hot(batch["origin"], len(ORIGINS)).float()
        rest = torch.cat([mean, origin], 1)[:, None].expand(-1, count, -1)
        features = self.drop(torch.cat([near, wide], 2))
        hidden = torch.relu(self.hidden(torch.cat([features, rest], 2)))
        logits = self.out(hidden)
        margins = torch.logsumexp(logits[..., 1:], -1) - logits[..., 0]
        here = (
            batch["mask"].view(size, count, BLOCK).any(2)
            if batch["mask"].dtype is torch.bool
            else batch["mask"].view(size, count, BLOCK).amax(2) > 0
        )
        margins = margins.masked_fill(~here, -1e9)
        best = margins.masked_fill(batch["elsewhere"], -1e9).argmax(1) if "elsewhere" in batch else margins.argmax(1)
        return logits[torch.arange(size), best], margins


def _windows(top: torch.Tensor, size: int) -> torch.Tensor:
    """Largest value over `size` blocks from each block on. Channels are never negative, so zeros pad."""
    padded = torch.nn.functional.pad(top, (0, 0, 0, size - 1))
    return torch.nn.functional.max_pool1d(padded.transpose(1, 2), size, 1).transpose(1, 2)


def collate(rows: Sequence[Tokens], origins: Sequence[int]) -> dict[str, torch.Tensor]:
    length = max(min(len(t.word), MOST) for t in rows)
    length = max(BLOCK, -(-length // BLOCK) * BLOCK)
    size = len(rows)
    out = {name: np.zeros((size, length), np.int64) for name in ("word", "pair", "skip", "before", "after")}
    mask = np.zeros((size, length), np.float32)
    has_after = np.zeros((size, length), np.float32)
    bags = np.zeros((size, length), np.int64)
    flat = []
    for i, t in enumerate(rows):
        n = min(len(t.word), MOST)
        out["word"][i, :n], out["pair"][i, :n], out["skip"][i, :n] = t.word[:n], t.pair[:n], t.skip[:n]
        out["before"][i, 1:n] = t.side[: n - 1] if n > 1 else 0
        if n > 1:
            out["after"][i, : n - 1], has_after[i, : n - 1] = t.side[1:n], 1
        mask[i, :n] = 1
        bags[i, :n] = np.diff(t.cut[: n + 1])
        flat.append(t.trigram[: t.cut[n]])
    cut = np.concatenate([[0], np.cumsum(bags.reshape(-1))])
    batch = {name: torch.from_numpy(array) for name, array in out.items()}
    batch |= {"mask": torch.from_numpy(mask), "has_after": torch.from_numpy(has_after)}
    batch |= {
        "trigram": torch.from_numpy(np.concatenate(flat)),
        "cut": torch.from_numpy(cut),
        "origin": torch.tensor(list(origins)),
    }
    return batch


def elsewhere(rows: Sequence[Tokens], focus: Sequence[int], count: int) -> torch.Tensor:
    """(rows, count) windows that cannot hold the passage planted at character `focus`; all may, where that is -1 or was not read."""
    out = torch.zeros((len(rows), count), dtype=torch.bool)
    for i, (t, at) in enumerate(zip(rows, focus)):
        token = int(np.searchsorted(t.start, at)) if at >= 0 else len(t.start)
        block = token // BLOCK
        if token < len(t.start) and block < count:
            out[i] = True
            out[i, max(0, block - WINDOW + 1) : block + PLANTED] = False
    return out


def batches(lengths: np.ndarray, rng: np.random.Generator, budget: int) -> list[np.ndarray]:
    """Indexes of rows of like length, at most `budget` tokens together."""
    order = np.argsort(lengths + rng.uniform(0, 12, len(lengths)) + lengths * rng.uniform(0, 0.15, len(lengths)))
    out, at = [], 0
    while at < len(order):
        end = at
        while end < len(order) and (end - at + 1) * max(int(lengths[order[end]]), BLOCK) <= budget:
            end += 1
        out.append(order[at : max(end, at + 1)])
        at = max(end, at + 1)
    return [out[i] for i in rng.permutation(len(out))]


def train(
    read: Sequence[Tokens],
    origins: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray,
    *,
    meanings: Meanings | None = None,
    teacher: np.ndarray | None = None,
    focus: Sequence[int] | None = None,
    seed: int = 1,
    epochs: int = 4,
    rate: float = 3e-3,
    budget: int = 12_000,
    log: Any = print,
) -> Net:
    """A trained network. `labels` index CLASSES; `teacher` gives margins (log odds of attack), nan where there are none; `focus` the character
    at which a planted passage begins, -1 where none is known."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = Net(meanings)
    keep = np.array([i for i, t in enumerate(read) if len(t.word)])
    lengths = np.array([min(len(t.word), MOST) for t in read])
    plan = [[keep[b] for b in batches(lengths[keep], rng, budget)] for _ in range(epochs)]
    steps = sum(map(len, plan))
    optim = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optim, rate, total_steps=steps + 1, pct_start=0.1)
    y, w = torch.from_numpy(labels), torch.from_numpy(weights.astype(np.float32))
    t = torch.from_numpy(teacher.astype(np.float32)) if teacher is not None else None
    began = time.time()
    for epoch, parts in enumerate(plan):
        total = 0.0
        for part in parts:
            some = [read[i] for i in part]
            batch = collate(some, origins[part])
            if focus is not None:
                batch["elsewhere"] = elsewhere(some, [focus[i] for i in part], batch["mask"].shape[1] // BLOCK)
            logits, _ = net(batch)
            loss = torch.nn.functional.cross_entropy(logits, y[part], reduction="none", label_smoothing=0.02)
            if t is not None:
                known = ~torch.isnan(t[part])
                margin = torch.logsumexp(logits[:, 1:], 1) - logits[:, 0]
                target = torch.sigmoid(torch.nan_to_num(t[part]) / 1.5)
                soft = torch.nn.functional.binary_cross_entropy_with_logits(margin / 1.5, target, reduction="none")
                loss = torch.where(known, 0.4 * loss + 1.2 * soft, loss)
            loss = (loss * w[part]).sum() / w[part].sum()
            optim.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optim.step()
            schedule.step()
            total += float(loss.detach())
        log(f"  tier one, epoch {epoch + 1}: loss {total / len(parts):.4f}, {time.time() - began:.0f} s")
    return net.eval()


@torch.no_grad()
def margins(net: Net, read: Sequence[Tokens], origins: np.ndarray, budget: int = 60_000) -> np.ndarray:
    """Log odds of attack of the deciding window; -20 for empty texts."""
    out = np.full(len(read), -20.0)
    lengths = np.array([min(len(t.word), MOST) for t in read])
    keep = np.flatnonzero(lengths)
    for part in batches(lengths[keep], np.random.default_rng(0), budget):
        at = keep[part]
        _, found = net(collate([read[i] for i in at], origins[at]))
        out[at] = found.amax(1).numpy()
    return out


def arrays(net: Net) -> dict[str, np.ndarray]:
    """int8 tables with one scale, the head in float32."""
    tables = {"word": net.word, "before": net.before, "after": net.after, "pair": net.pair, "trigram": net.trigram}
    values = {name: table.weight.detach().numpy() for name, table in tables.items()}
    top = float(np.quantile(np.abs(np.concatenate([v.reshape(-1) for v in values.values()])), 0.99995))
    scale = top / 127
    out = {name: np.clip(np.round(v / scale), -127, 127).astype(np.int8) for name, v in values.items()}
    out["bias"] = net.bias.detach().numpy().astype(np.float32)
    out["scale"] = np.array([scale], np.float32)
    out["hidden"] = net.hidden.weight.detach().numpy().T.copy().astype(np.float32)
    out["hidden_bias"] = net.hidden.bias.detach().numpy().astype(np.float32)
    out["out"] = net.out.weight.detach().numpy().T.copy().astype(np.float32)
    out["out_bias"] = net.out.bias.detach().numpy().astype(np.float32)
    return out


def prepared(texts: Sequence[str], fold: np.ndarray, kind: np.ndarray) -> list[Tokens]:
    return [tokens(text[:20_000], fold, kind) for text in texts]
