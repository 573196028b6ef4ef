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

from fcclip.clip.loading import LoadedClip, load_clip
from fcclip.clip.text_tower import encode_text, text_parameters, text_tower
from fcclip.data.panoshapes.batches import PairBatch, Plan
from fcclip.data.panoshapes.captions import all_words
from fcclip.data.panoshapes.traces import TraceBatch, TracePlan
from fcclip.engine.contrastive.tiles import embed_tiles
from fcclip.engine.contrastive.token_rows import TokenRows
from fcclip.engine.contrastive.traces import prepare_vit, trace_loss
from fcclip.engine.rng import seeded_rng
from fcclip.files.atomic import atomic_path
from fcclip.files.checkpoints import CLIP_PREFIX, read_state_dict

logger = logging.getLogger(__name__)

MAX_LOG_SCALE = 4.6052  # ln 100, as in CLIP
CHECKPOINT = "last.pth"
WEIGHTS = "clip.safetensors"


@dataclass(frozen=True)
class ContrastivePlan:
    """How a CLIP is trained.

    Attributes:
        model: open_clip's name of it, or a model description; traces need a ViT, tiles of mosaics a ConvNeXt.
        data: the batches, one per step; its seed is that of the weights as well.
        learning_rate: its peak; it rises to it in the first tenth of the steps, then falls to 0.
        weight_decay: of matrices and kernels; none for biases, norms and the temperature.
        start: weights to begin with; "" for random ones.
        text_tower: checkpoint with a CLIP, or of a model with one, whose text tower is taken over and kept as it is: an
            image tower learns faster when names have their places already, and a step costs less. Source: Zhai et al.,
            "LiT: Zero-Shot Transfer with Locked-image text Tuning", CVPR 2022, whose variant "uL" it is.
    """

    model: str
    data: Plan | TracePlan
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    start: str = ""
    text_tower: str = ""


class ContrastiveTrainer:
    """Trains a CLIP and writes it to a folder; going on in that folder goes on with the training."""

    def __init__(self, plan: ContrastivePlan, output: Path) -> None:
        torch.manual_seed(plan.data.seed)
        self.plan = plan
        self.output = output
        self.clip = load_clip(plan.model, plan.start)
        self.model: Any = self.clip.model
        if not plan.start:
            _open_blocks(self.model)
            if isinstance(plan.data, TracePlan):
                prepare_vit(self.model.visual)
        if plan.text_tower:
            _take_text_tower(self.model, Path(plan.text_tower))
        tower = text_tower(self.model)
        used = self.clip.tokenizer(all_words()).unique().tolist()
        self.tokens = tower.token_embedding = TokenRows(tower.token_embedding, used)
        self.optimizer = torch.optim.AdamW(_groups(self.model, plan.weight_decay), lr=plan.learning_rate, fused=True)
        self.scheduler = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, plan.learning_rate, total_steps=plan.data.batches + 1, pct_start=0.1, cycle_momentum=False
        )
        self.step = 0
        self.seconds = 0.0

    def train(self, checkpoint_period: int = 250, log_period: int = 50) -> LoadedClip:
        """Train the steps that are left; write a checkpoint every `checkpoint_period` steps, the weights at the end."""
        self._resume()
        stream = self.plan.data.stream(self.step)
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
        text_tower(self.model).token_embedding = self.tokens.whole()
        with atomic_path(self.output / WEIGHTS) as scratch:
            save_file({key: tensor.contiguous() for key, tensor in self.model.state_dict().items()}, scratch)
        return self.clip

    def _loss(self, batch: PairBatch | TraceBatch) -> Tensor:
        if isinstance(batch, TraceBatch):
            # Captions of pictures are long, those of classes short; together, all would be as long as the longest.
            texts = [self._texts(some) for some in (batch.captions, batch.class_captions)]
            return trace_loss(self.model, batch, *texts)
        images = F.normalize(torch.cat([embed_tiles(self.model, mosaics) for mosaics in batch.mosaics]), dim=-1)
        return ClipLoss()(images, self._texts(batch.captions), self.model.logit_scale.exp())

    def _texts(self, captions: list[str]) -> Tensor:
        return F.normalize(encode_text(self.model, self.clip.tokenizer(captions)), dim=-1)

    def _update(self, batch: PairBatch | TraceBatch) -> float:
        """One optimiser step; its loss."""
        model = self.model
        loss = self._loss(batch)
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


@torch.no_grad()
def _open_blocks(model: nn.Module) -> None:
    """Let every ConvNeXt block count in full from the start.

    timm scales blocks by 1e-6 at first, which is made for hundreds of epochs; a training of some thousand steps loses
    a good part of them until the blocks count.
    """
    for name, parameter in model.named_parameters():
        if name.endswith("gamma"):
            parameter.fill_(1.0)


def _take_text_tower(model: nn.Module, path: Path) -> None:
    """Give a CLIP the text tower and the temperature of a checkpoint, the tower frozen."""
    state = {key.removeprefix(CLIP_PREFIX): tensor for key, tensor in read_state_dict(path).items()}
    own = [key for key in model.state_dict() if not key.startswith("visual.")]
    missing = [key for key in own if key not in state]
    if missing:
        raise ValueError(f"{path} has no text tower that fits: {missing[0]} is missing")
    model.load_state_dict({key: state[key] for key in own}, strict=False)
    for parameter in text_parameters(model):
        parameter.requires_grad_(False)


def _groups(model: nn.Module, weight_decay: float) -> Sequence[dict[str, Any]]:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in trained if parameter.ndim >= 2]
    others = [parameter for parameter in trained if parameter.ndim < 2]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
