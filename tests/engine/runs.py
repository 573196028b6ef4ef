"""Trainings as the tests run them, with what they note."""

import torch
from detectron2.engine.train_loop import HookBase
from detectron2.utils.env import seed_all_rng

from fcclip.engine.trainer import Trainer


class Recorder(HookBase):
    """Notes the losses of every step; may stop the run as a crash would."""

    def __init__(self, crash_at=None):
        self.losses = {}
        self.crash_at = crash_at

    def before_step(self):
        if self.trainer.iter == self.crash_at:
            raise KeyboardInterrupt

    def after_step(self):
        latest = self.trainer.storage.latest()
        self.losses[self.trainer.iter] = {name: value for name, (value, _) in latest.items() if "loss" in name}


def train(cfg, resume=False, crash_at=None):
    """Run a training; the losses by iteration."""
    seed_all_rng(cfg.SEED)  # as the command does
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=resume)
    recorder = Recorder(crash_at)
    trainer.register_hooks([recorder])
    try:
        trainer.train()
    except KeyboardInterrupt:
        assert crash_at is not None
    return recorder.losses


def fixed_points(rows, count, two, device=None):
    """Stands for torch.rand in the drawing of points: the same points in every row."""
    golden = torch.tensor([0.7548776662, 0.5698402910])
    return (torch.arange(1, count + 1)[:, None] * golden % 1).expand(rows, count, two).to(device)
