#!/usr/bin/env python3
"""How long a vocabulary takes to encode: prompts as a tree, each alone, at 77 tokens, from the cache on disk.

    python tools/benchmark_text.py                       # ConvNeXt-L, the ADE20K-150 vocabulary
    python tools/benchmark_text.py --clip RN50 --vocabulary cityscapes

Prompts share what they begin with: a tree of their tokens, each of which is encoded once. The first part takes turns on
the same names, in the batches that the package makes: the tree, and each prompt alone, trimmed to the longest of its
batch, batches being of about equal length. The second takes turns on a few prompts, at 77 tokens as the published code
does. CPU seconds, which other work on the machine hardly lengthens. The weights are random: the time does not depend
on them.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fcclip.clip.loading import LoadedClip, load_clip
from fcclip.clip.prompt_tree import PromptTree
from fcclip.clip.text_tower import embedding_width, encode_one_by_one, encode_text, text_weights
from fcclip.engine.errors import run_tool
from fcclip.files.cache import TextCache
from fcclip.files.fingerprint import fingerprint_tensors
from fcclip.text import BATCH_SIZE, TEMPLATES, NameEmbedder, average_prompts
from fcclip.vocabulary import Vocabulary


def encode_whole(clip_model: Any, tokens: Tensor) -> Tensor:
    """All 77 positions, as the published code does."""
    return clip_model.encode_text(tokens, normalize=False)


def encode_alone(clip: LoadedClip, names: Sequence[str]) -> Tensor:
    """Rows of names, each prompt encoded alone, in batches of names of about equal length."""
    tokens = clip.tokenizer([template.format(name) for name in names for template in TEMPLATES])
    tokens = tokens.view(len(names), len(TEMPLATES), -1)
    order = tokens.argmax(dim=-1).amax(dim=1).argsort(stable=True)
    batches = order.split(BATCH_SIZE // len(TEMPLATES))
    prompts = [encode_one_by_one(clip.model, tokens[batch].flatten(0, 1)) for batch in batches]
    return average_prompts(torch.cat(prompts), len(TEMPLATES))[order.argsort()]


def compare_with_tree(clip: LoadedClip, names: Sequence[str], repeats: int) -> float:
    """Print the time of single prompts and of the tree, in turns on the same names; the seconds of the tree."""
    alone, tree = [], []
    for _ in range(repeats):
        start = time.process_time()
        expected = encode_alone(clip, names)
        alone.append(time.process_time() - start)
        start = time.process_time()
        rows = NameEmbedder(clip.tokenizer, partial(encode_text, clip.model)).embed(names)
        tree.append(time.process_time() - start)
    difference = (rows - expected).norm(dim=-1).max().item()
    print(f"each prompt alone            {statistics.median(alone):9.2f} s")
    print(f"as a tree                    {statistics.median(tree):9.2f} s")
    ratio = statistics.median(a / t for a, t in zip(alone, tree, strict=True))
    print(f"in turns, the tree is {ratio:.2f}x as fast; rows, of length 1, are at most {difference:.1e} apart")
    return statistics.median(tree)


def compare_with_whole(clip: LoadedClip, prompts: Sequence[str], repeats: int) -> None:
    """Print how much faster than 77 tokens prompts alone are, in turns."""
    tokens = clip.tokenizer(list(prompts))
    tokens = tokens[tokens.argmax(dim=-1).argsort()]
    ratios = []
    for _ in range(repeats):
        start = time.process_time()
        expected = encode_whole(clip.model, tokens)
        middle = time.process_time()
        trimmed = encode_one_by_one(clip.model, tokens)
        ratios.append((middle - start) / (time.process_time() - middle))
    error = (expected - trimmed).abs().max().item()
    print(f"{len(tokens)} prompts, alone: {statistics.median(ratios):.1f}x as fast as at 77 tokens, {error:.1e} apart")


def measure_cache(clip: LoadedClip, name: str, names: Sequence[str]) -> None:
    """Print how long the fingerprint of the weights takes, and the reading of rows from disk."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        fingerprint = fingerprint_tensors(text_weights(clip.model), (name, *TEMPLATES))
        print(f"fingerprint of the weights   {time.process_time() - start:9.2f} s, once per process")
        cache = TextCache(fingerprint, Path(folder))
        rows = torch.nn.functional.normalize(torch.randn(len(names), embedding_width(clip.model)), dim=-1)
        cache.add(dict(zip(names, rows, strict=True)))
        start = time.process_time()
        NameEmbedder(clip.tokenizer, partial(encode_text, clip.model), lambda: cache).embed(names)
        print(f"from the cache on disk       {time.process_time() - start:9.3f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", default="convnext_large_d_320", help="open_clip's name of the model")
    parser.add_argument("--vocabulary", default="ade20k_150", help="a shipped vocabulary")
    parser.add_argument("--classes", type=int, default=100, help="how many of its classes are encoded")
    parser.add_argument("--sample", type=int, default=64, help="prompts that are also encoded at 77 tokens")
    parser.add_argument("--repeats", type=int, default=2, help="turns of the comparisons")
    options = parser.parse_args()

    clip = load_clip(options.clip, "")
    clip.model.eval()
    path = files("fcclip") / "data" / "datasets" / "vocabularies" / f"{options.vocabulary}.txt"
    vocabulary = Vocabulary.from_file(str(path))
    classes = zip(vocabulary.names, vocabulary.class_of_name, strict=True)
    names = list(dict.fromkeys(name for name, of_class in classes if of_class < options.classes))
    prompts = [template.format(name) for name in names for template in TEMPLATES]
    tokens = clip.tokenizer(prompts)
    count, nodes = int(tokens.argmax(dim=-1).add(1).sum()), len(PromptTree.build(tokens, torch.device("cpu")).tokens)
    print(f"{options.clip}, {torch.get_num_threads()} threads, CPU seconds")
    print(f"{len(names)} names, {len(prompts)} prompts, {count} tokens, {nodes} in one tree ({nodes / count:.0%})")
    with torch.inference_mode():
        compare_with_tree(clip, names, options.repeats)
        compare_with_whole(clip, prompts[:: max(len(prompts) // options.sample, 1)], options.repeats)
        measure_cache(clip, options.clip, names)


if __name__ == "__main__":
    sys.exit(run_tool(main))
