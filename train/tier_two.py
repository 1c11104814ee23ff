"""Trains tier two: MiniLM with a class head, fine-tuned, exported as int8 ONNX. torch and transformers only here.

In: rows, the folder of the base model, a seed. Out: a torch model; `export` writes ONNX. bfloat16 where the processor has it. On two cores about 5,000 word pieces a
second; on a GPU the same code with device="cuda".
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import AutoModel

from afterguard.detect.judge.tier_one import CLASSES
from afterguard.detect.judge.wordpiece import pieces

LENGTH = 128
FIRST_UNUSED = 1
"""Origins are told by BERT's unused words [unused0]...: ids 1 to 5."""


class Judge(nn.Module):
    def __init__(self, base: Path) -> None:
        super().__init__()
        self.body = AutoModel.from_pretrained(str(base), add_pooling_layer=False, attn_implementation="eager")
        width = self.body.config.hidden_size
        self.head = nn.Sequential(nn.Dropout(0.1), nn.Linear(2 * width, 128), nn.ReLU(), nn.Linear(128, len(CLASSES)))

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.both(ids, mask, 0)[1]

    def both(self, ids: torch.Tensor, mask: torch.Tensor, layers: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(state after that many layers, logits)."""
        states = self.body(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
        some = mask[..., None].to(states[-1].dtype)
        mean = (states[-1] * some).sum(1) / some.sum(1)
        return states[layers], self.head(torch.cat([states[-1][:, 0], mean], 1))


def vocabulary(base: Path) -> dict[str, int]:
    return {word: at for at, word in enumerate((base / "vocab.txt").read_text(encoding="utf-8").split("\n")) if word}


def encoded(
    texts: Sequence[str], origins: Sequence[int], focus: Sequence[int], words: dict[str, int], seed: int
) -> list[list[int]]:
    """Ids of one window a text: around the planted place where one is known, else anywhere (mostly at the start)."""
    rng = np.random.default_rng(seed)
    room = LENGTH - 3
    out = []
    for text, origin, at in zip(texts, origins, focus):
        low = 0
        if at > 0 or len(text) > 1500:
            centre = at if at >= 0 else (0 if rng.random() < 0.4 else int(rng.integers(0, len(text))))
            low = max(0, centre - int(rng.integers(0, 420)))
        found = pieces(text[low : low + 1500], words, room).ids[:room]
        out.append([words["[CLS]"], FIRST_UNUSED + origin, *found, words["[SEP]"]])
    return out


def train(
    model: Judge,
    ids: list[list[int]],
    labels: np.ndarray,
    weights: np.ndarray,
    *,
    seed: int = 1,
    epochs: float = 1,
    rate: float = 1.2e-4,
    budget: int = 4096,
    device: str = "cpu",
    log: Any = print,
    early: Any = None,
) -> Judge:
    """Fine-tuned on encoded windows. `early` is a head on the first layers (glance.Glance) that is trained with it, so that those layers learn to say
    what the whole network says."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    lengths = np.array([len(one) for one in ids])
    plan: list[np.ndarray] = []
    for _ in range(int(np.ceil(epochs))):
        order = np.argsort(lengths + rng.uniform(0, 10, len(lengths)))
        at, parts = 0, []
        while at < len(order):
            count = max(1, budget // max(1, int(lengths[order[min(at + 40, len(order) - 1)]]) + 8))
            parts.append(order[at : at + count])
            at += count
        plan += [parts[i] for i in rng.permutation(len(parts))]
    plan = plan[: int(len(plan) * epochs / np.ceil(epochs))]
    model.to(device).train()
    decay = [p for n, p in model.named_parameters() if p.ndim > 1]
    rest = [p for n, p in model.named_parameters() if p.ndim <= 1]
    groups = [{"params": decay, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}]
    rates = [rate, rate]
    if early is not None:
        early.to(device).train()
        groups.append({"params": list(early.parameters()), "weight_decay": 0.01})
        rates.append(5 * rate)
    optim = torch.optim.AdamW(groups, lr=rate, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optim, rates, total_steps=len(plan) + 1, pct_start=0.08, anneal_strategy="linear"
    )
    y, w = torch.from_numpy(labels), torch.from_numpy(weights.astype(np.float32))
    began, total = time.time(), 0.0
    for step, part in enumerate(plan):
        x, mask = padded([ids[i] for i in part])
        with torch.autocast(device, dtype=torch.bfloat16):
            state, logits = model.both(x.to(device), mask.to(device), early.LAYERS if early else 0)
        loss = nn.functional.cross_entropy(logits.float(), y[part].to(device), reduction="none", label_smoothing=0.02)
        weight = w[part].to(device)
        if early is not None:
            loss = loss + early.loss(state.float(), mask.to(device), logits.detach().float(), y[part].to(device) > 0)
        loss = (loss * weight).sum() / weight.sum()
        optim.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optim.step()
        schedule.step()
        total = 0.98 * total + 0.02 * float(loss.detach())
        if step % 50 == 49:
            log(
                f"  tier two, step {step + 1} of {len(plan)}: loss {total / (1 - 0.98 ** (step + 1)):.4f}, {time.time() - began:.0f} s"
            )
    if early is not None:
        early.to("cpu").eval()
    return model.eval()


def padded(rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    length = max(map(len, rows))
    x = torch.zeros((len(rows), length), dtype=torch.long)
    mask = torch.zeros((len(rows), length), dtype=torch.long)
    for i, row in enumerate(rows):
        x[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = 1
    return x, mask


@torch.no_grad()
def logits(model: Judge, ids: list[list[int]], budget: int = 8192) -> np.ndarray:
    """Class logits of encoded windows."""
    model.eval()
    order = np.argsort([len(one) for one in ids])
    out = np.zeros((len(ids), len(CLASSES)), np.float32)
    at = 0
    while at < len(order):
        count = max(1, budget // len(ids[order[min(at + 64, len(order) - 1)]]))
        part = order[at : at + count]
        x, mask = padded([ids[i] for i in part])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out[part] = model(x, mask).float().numpy()
        at += count
    return out


class First(nn.Module):
    """Embeddings and the first layers, with the glance: what most of the texts that come here need."""

    def __init__(self, model: Judge, glance: nn.Module) -> None:
        super().__init__()
        self.body, self.glance = model.body, glance

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        state = self.body(input_ids=ids, attention_mask=mask).last_hidden_state
        return state, self.glance(state, mask)


class Rest(nn.Module):
    """The other layers and the head."""

    def __init__(self, model: Judge, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers, self.head = nn.ModuleList(layers), model.head

    def forward(self, state: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        some = mask[..., None].to(state.dtype)
        hidden = (1 - mask[:, None, None, :].to(state.dtype)) * -1e9
        for layer in self.layers:
            found = layer(state, hidden)
            state = found[0] if isinstance(found, tuple) else found
        return self.head(torch.cat([state[:, 0], (state * some).sum(1) / some.sum(1)], 1))


def export(model: Judge, glance: nn.Module, layers: int, folder: Path) -> None:
    """glance.onnx (ids, mask -> state, glance) and tier-two.onnx (state, mask -> logits), int8."""
    model.eval().to("cpu").float()
    every = model.body.encoder.layer
    ids, mask = torch.ones((2, 16), dtype=torch.long), torch.ones((2, 16), dtype=torch.long)
    rest = Rest(model, list(every[layers:])).eval()
    model.body.encoder.layer = every[:layers]
    first = First(model, glance).eval()
    with torch.no_grad():
        state, _ = first(ids, mask)
    _export(first, (ids, mask), ["ids", "mask"], ["state", "glance"], folder / "glance.onnx")
    model.body.encoder.layer = every
    _export(rest, (state, mask), ["state", "mask"], ["logits"], folder / "tier-two.onnx")


def _export(
    net: nn.Module, example: tuple[torch.Tensor, ...], inputs: list[str], outputs: list[str], path: Path
) -> None:
    """int8 per channel, dynamic."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    whole, ready = path.with_suffix(".fp32.onnx"), path.with_suffix(".pre.onnx")
    axes: dict[str, dict[int, str]] = {name: {0: "batch", 1: "length"} for name in [*inputs, "state"]}
    axes |= {name: {0: "batch"} for name in outputs if name != "state"}
    torch.onnx.export(
        net,
        example,
        str(whole),
        input_names=inputs,
        output_names=outputs,
        dynamic_axes={name: axes[name] for name in [*inputs, *outputs]},
        opset_version=17,
        dynamo=False,
    )
    quant_pre_process(str(whole), str(ready), skip_symbolic_shape=True)
    quantize_dynamic(
        str(ready),
        str(path),
        per_channel=True,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul", "Gather", "Gemm"],
    )
    ready.unlink()
    whole.unlink()
