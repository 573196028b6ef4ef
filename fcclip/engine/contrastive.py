"""Train a small CLIP on image-caption pairs, with open_clip's model and loss."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from open_clip import ClipLoss
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader

from fcclip.atomic import atomic_path
from fcclip.clip.convnext import ConvNeXtTower
from fcclip.clip.loading import LoadedClip, load_clip
from fcclip.config import CLIP_PIXEL_MEAN, CLIP_PIXEL_STD
from fcclip.data.panoshapes.batches import Mosaics, PairBatch, PairBatches, Plan
from fcclip.engine.rng import seeded_rng

logger = logging.getLogger(__name__)

MAX_LOG_SCALE = 4.6052  # ln 100, as in CLIP
MIDDLE = 0.75  # share of a tile's side
CHECKPOINT = "last.pth"
WEIGHTS = "clip.safetensors"


@dataclass(frozen=True)
class ContrastivePlan:
    """How a CLIP is trained.

    Attributes:
        model: open_clip's name of it, or a model description.
        data: the batches, one a step; its seed is that of the weights as well.
        learning_rate: its peak; it rises to it in the first tenth of the steps, then falls to 0.
        weight_decay: of matrices and kernels; none for biases, norms and the temperature.
        start: weights to begin with; "" for random ones.
    """

    model: str
    data: Plan
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    start: str = ""


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
        images = F.normalize(torch.cat([embed_tiles(model, mosaics) for mosaics in batch.mosaics]), dim=-1)
        texts = model.encode_text(self.clip.tokenizer(batch.captions), normalize=True)
        loss = self.loss(images, texts, model.logit_scale.exp())
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


def embed_tiles(model: Any, mosaics: Mosaics) -> Tensor:
    """CLIP embeddings of the tiles, (n * grid**2, E), row by row.

    A ConvNeXt's mean features of each tile go through CLIP's head; in training those of a random half of the places in
    the middle of the tile, so that each of them learns to tell what it is part of, as pooling over masks needs it. A
    ViT has one embedding for a picture.

    Raises:
        ValueError: the CLIP is a ViT and a mosaic has several tiles.
    """
    images = normalize_pixels(mosaics.images)
    if not is_convolutional(model):
        if mosaics.grid > 1:
            raise ValueError("a ViT embeds a picture as a whole; train it on mosaics of one tile")
        return model.encode_image(images)
    tower = ConvNeXtTower(model.visual)
    dense = tower.extract_features(images)["clip_vis_dense"]
    weights = _place_weights(dense, mosaics.grid) if model.training else torch.ones_like(dense[:, :1])
    pooled = F.adaptive_avg_pool2d(dense * weights, mosaics.grid) / F.adaptive_avg_pool2d(weights, mosaics.grid)
    return tower.embed_pooled(pooled.flatten(2).transpose(1, 2)).flatten(0, 1)


def _place_weights(dense: Tensor, grid: int) -> Tensor:
    """What each place (B, 1, h, w) of mosaics' features counts: a random half of the middle of every tile in full."""
    side = dense.shape[-1]
    offset = ((torch.arange(side) + 0.5) * grid / side % 1 * 2 - 1).abs()  # from the tile's centre, 1 at its border
    middle = torch.maximum(offset[:, None], offset) < MIDDLE
    chosen = torch.rand(len(dense), 1, side, side) < 0.5
    return (middle & chosen) + 0.05 * middle + 0.001  # a tile of which nothing was chosen has a mean as well


def is_convolutional(model: Any) -> bool:
    """Whether a CLIP's image tower is a ConvNeXt of timm, not a ViT."""
    return hasattr(model.visual, "trunk")


def normalize_pixels(images: Tensor) -> Tensor:
    """(..., 3, H, W) uint8 -> float32 with CLIP's mean and deviation taken out."""
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in (CLIP_PIXEL_MEAN, CLIP_PIXEL_STD))
    return (images.float() - mean) / deviation


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
