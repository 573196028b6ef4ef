"""Train a small CLIP on image-caption pairs, with open_clip's model and loss."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from open_clip import ClipLoss
from safetensors.torch import save_file
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import DataLoader

from fcclip.clip.loading import LoadedClip, load_clip
from fcclip.data.panoshapes.batches import PairBatch, PairBatches, Plan
from fcclip.engine.contrastive.tiles import embed_tiles
from fcclip.engine.rng import seeded_rng
from fcclip.files.atomic import atomic_path

logger = logging.getLogger(__name__)

MAX_LOG_SCALE = 4.6052  # ln 100, as in CLIP
CHECKPOINT = "last.pth"
WEIGHTS = "clip.safetensors"


@dataclass(frozen=True)
class ContrastivePlan:
    """How a CLIP is trained.

    Attributes:
        model: open_clip's name of it, or a model description.
        data: the batches, one per step; its seed is that of the weights as well.
        learning_rate: its peak; it rises to it in the first tenth of the steps, then falls to 0.
        weight_decay: of matrices and kernels; none for biases, norms and the temperature.
        start: weights to begin with; "" for random ones.
        bfloat16: compute the towers by autocast in bfloat16.
    """

    model: str
    data: Plan
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    start: str = ""
    bfloat16: bool = False


class ContrastiveTrainer:
    """Trains a CLIP and writes it to a folder; going on in that folder goes on with the training."""

    def __init__(self, plan: ContrastivePlan, output: Path) -> None:
        torch.manual_seed(plan.data.seed)
        self.plan = plan
        self.output = output
        self.clip = load_clip(plan.model, plan.start)
        self.model: Any = self.clip.model
        self.loss = ClipLoss()
        if not plan.start:
            _open_blocks(self.model)
        self.optimizer = torch.optim.AdamW(_groups(self.model, plan.weight_decay), lr=plan.learning_rate, fused=True)
        self.scheduler = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, plan.learning_rate, total_steps=plan.data.batches + 1, pct_start=0.1, cycle_momentum=False
        )
        self.step = 0
        self.seconds = 0.0

    def train(self, checkpoint_period: int = 250, log_period: int = 50) -> LoadedClip:
        """Train the steps that are left; write a checkpoint every `checkpoint_period` steps, the weights at the end."""
        self._resume()
        stream = PairBatches(self.plan.data, self.step)
        self.model.train()
        losses: deque[float] = deque(maxlen=log_period)
        start = time.perf_counter() - self.seconds
        for batch in DataLoader(stream, batch_size=None, num_workers=1, prefetch_factor=4):
            with seeded_rng(self.plan.data.seed, self.step):  # stochastic depth, the same after a resume
                losses.append(self._update(batch))
            self.seconds = time.perf_counter() - start
            if self.step % log_period == 0:
                mean = sum(losses) / len(losses)
                logger.info("step %d of %d: loss %.3f, %.0f s", self.step, stream.plan.batches, mean, self.seconds)
            if self.step % checkpoint_period == 0:
                self._save()
        self.model.eval()
        with atomic_path(self.output / WEIGHTS) as scratch:
            save_file({key: tensor.contiguous() for key, tensor in self.model.state_dict().items()}, scratch)
        return self.clip

    def _update(self, batch: PairBatch) -> float:
        """One optimiser step; its loss."""
        model = self.model
        with _bfloat16() if self.plan.bfloat16 else nullcontext():
            images = F.normalize(torch.cat([embed_tiles(model, mosaics) for mosaics in batch.mosaics]), dim=-1)
            texts = model.encode_text(self.clip.tokenizer(batch.captions), normalize=True)
        loss = self.loss(images.float(), texts.float(), model.logit_scale.exp())
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        self.optimizer.step()
        self.scheduler.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, MAX_LOG_SCALE)
        self.step += 1
        return loss.item()

    def _save(self) -> None:
        state = {
            "plan": asdict(self.plan),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        with atomic_path(self.output / CHECKPOINT) as scratch:
            torch.save(state, scratch)

    def _resume(self) -> None:
        path = self.output / CHECKPOINT
        if not path.is_file():
            return
        state = torch.load(path, weights_only=True)
        if state["plan"] != asdict(self.plan):
            raise ValueError(f"{path} is of a training with other settings; choose another output folder")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.step, self.seconds = state["step"], state["seconds"]


@contextmanager
def _bfloat16() -> Iterator[None]:
    """Autocast on the CPU, whose fused attention is several times slower backwards in bfloat16 than plain products."""
    with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
        yield


@torch.no_grad()
def _open_blocks(model: nn.Module) -> None:
    """Let every ConvNeXt block count in full from the start.

    timm scales blocks by 1e-6 at first, which is made for hundreds of epochs; a training of some thousand steps loses
    a good part of them until the blocks count.
    """
    for name, parameter in model.named_parameters():
        if name.endswith("gamma"):
            parameter.fill_(1.0)


def _groups(model: nn.Module, weight_decay: float) -> Sequence[dict[str, Any]]:
    matrices = [parameter for parameter in model.parameters() if parameter.ndim >= 2]
    others = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
