"""Open-vocabulary classification of mask embeddings, and the ensemble of two such classifiers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fcclip.text import TextClassifier

MAX_LOGIT_SCALE = 100.0
VOID_EPSILON = 1e-8
LOST_SHARE = 0.01  # of its probability that a class keeps in a mask which a negative wins


def classify(embeddings: Tensor, text: TextClassifier, logit_scale: Tensor) -> Tensor:
    """Scaled cosine similarity to each class: that of its best synonym.

    Args:
        embeddings: (B, Q, E), not normalised.
        text: C classes; the same for all images, or rows (B, S, E) of each.
        logit_scale: logarithm of the temperature, capped at 100 as in CLIP.

    Returns:
        (B, Q, C) logits.
    """
    scale = logit_scale.exp().clamp(max=MAX_LOGIT_SCALE)
    similarity = (scale * F.normalize(embeddings, dim=-1)) @ text.embeddings.mT
    return similarity[..., text.rows_of_class].max(dim=-1).values


def geometric_ensemble(in_vocab: Tensor, out_vocab: Tensor, exponents: Tensor, clip_trust: float = 0.0) -> Tensor:
    """Join the in-vocabulary and the out-of-vocabulary classifier, class by class, in log space.

    The published formula takes logarithms of products of probabilities, which fails where they underflow; sums of
    log-probabilities are the same numbers and always finite.

    Args:
        in_vocab: (B, Q, C + 1) logits of the trained classifier, void last.
        out_vocab: (B, Q, C) logits of CLIP.
        exponents: share of `out_vocab` by class, (C,), or by query and class, (B, Q, C).
        clip_trust: how much less likely void is where CLIP is sure of a class, from 0 to 1.

    Returns:
        (B, Q, C + 1) log-probabilities; with a `clip_trust` of 0, void keeps the probability that the trained
        classifier gives it.

    Source: FC-CLIP (Yu et al., NeurIPS 2023), section 3.2, after F-VLM (Kuo et al., ICLR 2023); `clip_trust` is COAT,
    of OVRCOAT (Kormushev et al., CVPR 2026).
    """
    log_in = in_vocab[..., :-1].log_softmax(dim=-1)
    log_out = out_vocab.log_softmax(dim=-1)
    joint = ((1 - exponents) * log_in + exponents * log_out).softmax(dim=-1)
    void = in_vocab.softmax(dim=-1)[..., -1:] * (1 - clip_trust * log_out.amax(dim=-1, keepdim=True).exp())
    return torch.log(torch.cat([joint * (1 - void), void], dim=-1) + VOID_EPSILON)


def leave_to_negatives(log_probabilities: Tensor, contest: Tensor, weights: Tensor) -> Tensor:
    """Make void of what looks more like a negative than like any class; the scores of all else stay as they are.

    Args:
        log_probabilities: (B, Q, C + 1) of the classes, void last.
        contest: (B, Q, C + N + 1) of the same classes among N negatives, void last.
        weights: (N,) what the probability of each negative is multiplied with, before it is compared.

    Returns:
        (B, Q, C + 1) log-probabilities.
    """
    count = log_probabilities.shape[-1] - 1
    best_negative = (contest[..., count:-1] + weights.log()).amax(dim=-1, keepdim=True)
    lost = best_negative > contest[..., :count].amax(dim=-1, keepdim=True)
    share = LOST_SHARE * log_probabilities[..., :-1].exp()
    void = 1 - share.sum(dim=-1, keepdim=True)
    return torch.where(lost, torch.log(torch.cat([share, void], dim=-1) + VOID_EPSILON), log_probabilities)
