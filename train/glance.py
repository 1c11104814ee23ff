"""The glance: what tier two's first layers say already. A small head on their states, trained on the whole network's opinion.

In: the fine-tuned model, frozen, encoded windows, its log odds of them, labels. Out: `Glance`, log odds of attack of a window. One pass over the rows for
their states, then seconds.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

import tier_two

LAYERS = 3
PIECES = 96
UNITS = 128
ROWS = 20_000
"""Generated rows it is trained on."""


class Glance(nn.Module):
    """State after LAYERS layers -> log odds of attack: first piece, mean and largest value of each channel."""

    LAYERS = LAYERS

    def __init__(self, width: int = 384) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Dropout(0.2), nn.Linear(3 * width, UNITS), nn.ReLU(), nn.Linear(UNITS, 1))
        self.register_buffer("shift", torch.zeros(3 * width))
        self.register_buffer("scale", torch.ones(3 * width))

    def forward(self, state: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.net((pooled(state, mask) - self.shift) / self.scale)[:, 0]

    def loss(self, state: torch.Tensor, mask: torch.Tensor, logits: torch.Tensor, attack: torch.Tensor) -> torch.Tensor:
        """Loss of each window against the network's opinion of it and its label."""
        return against(self(state, mask), torch.logsumexp(logits[:, 1:], 1) - logits[:, 0], attack.float())


def against(said: torch.Tensor, opinion: torch.Tensor, attack: torch.Tensor) -> torch.Tensor:
    """Cross entropy of log odds, mostly against the network's softened opinion."""
    loss = nn.functional.binary_cross_entropy_with_logits
    soft = loss(said / 1.5, torch.sigmoid(opinion / 1.5), reduction="none")
    return 0.8 * soft + 0.2 * loss(said, attack, reduction="none")


def pooled(state: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    some = mask[..., None].to(state.dtype)
    mean = (state * some).sum(1) / some.sum(1)
    return torch.cat([state[:, 0], mean, (state - 1e4 * (1 - some)).amax(1)], 1)


@torch.no_grad()
def states(model: tier_two.Judge, ids: list[list[int]], budget: int = 8192) -> torch.Tensor:
    """(windows, 3 * width) pooled states after LAYERS layers of at most PIECES pieces."""
    ids = [[*one[: PIECES - 1], one[-1]] if len(one) > PIECES else one for one in ids]
    order = np.argsort([len(one) for one in ids], kind="stable")
    layers = model.body.encoder.layer
    model.body.encoder.layer = layers[:LAYERS]
    out = torch.zeros((len(ids), 3 * model.body.config.hidden_size))
    at = 0
    while at < len(order):
        part = order[at : at + max(1, budget // len(ids[order[min(at + 64, len(order) - 1)]]))]
        x, mask = tier_two.padded([ids[i] for i in part])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            state = model.body(input_ids=x, attention_mask=mask).last_hidden_state
        out[part] = pooled(state.float(), mask)
        at += len(part)
    model.body.encoder.layer = layers
    return out


def train(
    model: tier_two.Judge, ids: list[list[int]], opinion: np.ndarray, attack: np.ndarray, seed: int = 1
) -> Glance:
    """`opinion` is the whole network's log odds of each window, `attack` what the row is labelled."""
    torch.manual_seed(seed)
    x = states(model, ids)
    glance = Glance(model.body.config.hidden_size)
    glance.shift, glance.scale = x.mean(0), x.std(0) + 1e-3
    x = (x - glance.shift) / glance.scale
    soft, hard = torch.from_numpy(opinion).float(), torch.from_numpy(attack).float()
    optim = torch.optim.AdamW(glance.parameters(), 1e-3, weight_decay=1e-2)
    for _ in range(12):
        for part in torch.randperm(len(x)).split(512):
            total = against(glance.net(x[part])[:, 0], soft[part], hard[part]).mean()
            optim.zero_grad()
            total.backward()
            optim.step()
    return glance.eval()
