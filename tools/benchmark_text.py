#!/usr/bin/env python3
"""How long a vocabulary takes to encode: prompts as long as they are, against 77 tokens, against the cache on disk.

    python tools/benchmark_text.py                       # ConvNeXt-L, the ADE20K-150 vocabulary
    python tools/benchmark_text.py --clip RN50 --vocabulary cityscapes

Encoding at 77 tokens is timed on a sample of the prompts, in turns with the trimmed encoding of the same ones, and
scaled up to all of them. The weights are random: the time does not depend on them.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fcclip.clip.loading import load_clip
from fcclip.clip.text_tower import encode_text, text_weights
from fcclip.commands.errors import run_tool
from fcclip.files.cache import TextCache
from fcclip.files.fingerprint import fingerprint_tensors
from fcclip.text import TEMPLATES, NameEmbedder
from fcclip.vocabulary import Vocabulary


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def encode_whole(clip_model: Any, tokens: Tensor) -> Tensor:
    """All 77 positions, as the published code does."""
    return clip_model.encode_text(tokens, normalize=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", default="convnext_large_d_320", help="open_clip's name of the model")
    parser.add_argument("--vocabulary", default="ade20k_150", help="a shipped vocabulary")
    parser.add_argument("--sample", type=int, default=64, help="prompts that are also encoded at 77 tokens")
    parser.add_argument("--repeats", type=int, default=3, help="turns of the comparison on the sample")
    options = parser.parse_args()

    loaded = load_clip(options.clip, "")
    model = loaded.model.eval()
    path = files("fcclip") / "data" / "datasets" / "vocabularies" / f"{options.vocabulary}.txt"
    names = Vocabulary.from_file(str(path)).names
    prompts = [template.format(name) for name in names for template in TEMPLATES]
    print(f"{options.clip}, {torch.get_num_threads()} threads: {len(names)} names, {len(prompts)} prompts")

    with torch.inference_mode(), tempfile.TemporaryDirectory() as folder:
        tokens = loaded.tokenizer(prompts)
        sample = tokens[torch.linspace(0, len(tokens) - 1, options.sample).long()]
        sample = sample[sample.argmax(dim=-1).argsort()]
        whole, trimmed = [], []
        for _ in range(options.repeats):
            whole.append(seconds(lambda: encode_whole(model, sample)))
            trimmed.append(seconds(lambda: encode_text(model, sample)))
        error = (encode_whole(model, sample) - encode_text(model, sample)).abs().max().item()

        def embedder() -> NameEmbedder:
            fingerprint = fingerprint_tensors(text_weights(model), (options.clip, *TEMPLATES))
            cache = TextCache(fingerprint, Path(folder))
            return NameEmbedder(loaded.tokenizer, lambda x: encode_text(model, x), lambda: cache)

        fingerprinting = seconds(embedder)
        cold_embedder, warm_embedder = embedder(), embedder()
        cold = seconds(lambda: cold_embedder.embed(names))
        warm = seconds(lambda: warm_embedder.embed(names))

    at_77 = statistics.median(whole) * len(prompts) / len(sample)
    print(f"77 tokens (from {len(sample)} prompts)  {at_77:9.2f} s   1.0x")
    print(f"cold, trimmed                {cold:9.2f} s   {at_77 / cold:.1f}x")
    print(f"warm, from disk              {warm:9.2f} s   {at_77 / warm:.0f}x")
    print(f"fingerprint of the weights   {fingerprinting:9.2f} s   once per process")
    ratio = statistics.median(w / t for w, t in zip(whole, trimmed, strict=True))
    print(f"same {len(sample)} prompts, in turns: trimmed is {ratio:.1f}x as fast; largest difference {error:.1e}")


if __name__ == "__main__":
    sys.exit(run_tool(main))
