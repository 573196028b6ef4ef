"""Outputs of a mask decoder and targets, drawn at random."""

import torch


def make_outputs(num_images=2, num_queries=5, num_classes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        "pred_logits": torch.randn(num_images, num_queries, num_classes + 1, generator=generator),
        "pred_masks": torch.randn(num_images, num_queries, 8, 8, generator=generator) * 3,
    }


def make_targets(*counts, size=(16, 16), num_classes=3, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return [
        {
            "labels": torch.randint(num_classes, (count,), generator=generator),
            "masks": torch.rand(count, *size, generator=generator) > 0.5,
        }
        for count in counts
    ]
