"""What the flags of `fcclip.commands.options` chose: the model's configuration, and the classes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from detectron2.config import CfgNode

from fcclip.commands.options import DEFAULT_CONFIG
from fcclip.config import load_inference_cfg
from fcclip.data.builtin_vocabularies import BUILTIN_VOCABULARIES, builtin_vocabulary, join_vocabularies
from fcclip.files.folders import configs_folder
from fcclip.files.vocabularies import PUBLISHED
from fcclip.vocabulary import Vocabulary
from fcclip.zoo import find_pretrained


def read_vocabulary(options: argparse.Namespace) -> list[Vocabulary]:
    """The user's classes, if there are any; read before a model is fetched for them in vain."""
    if options.vocabulary is not None:
        return [Vocabulary.from_string(options.vocabulary)]
    return [] if options.vocabulary_file is None else [Vocabulary.from_file(options.vocabulary_file)]


def add_lists(chosen: list[Vocabulary], options: argparse.Namespace, cfg: CfgNode) -> Vocabulary:
    """The user's classes and the built-in lists asked for; all of those if nothing was asked for."""
    lists = options.add_vocabulary or ([] if chosen else BUILTIN_VOCABULARIES)
    directory = cfg.MODEL.FC_CLIP.VOCABULARY_DIR
    vocabularies = [*chosen, *(builtin_vocabulary(name, directory) for name in dict.fromkeys(lists))]
    return vocabularies[0] if len(vocabularies) == 1 else join_vocabularies(vocabularies)


def read_model_config(options: argparse.Namespace) -> CfgNode:
    """The configuration of --model or --config-file; of the command's default model where neither was given."""
    lists = ["MODEL.FC_CLIP.VOCABULARY_DIR", PUBLISHED] if options.published_vocabulary else []
    return load_chosen(options, lists, options.device, options.fast)


def load_chosen(options: argparse.Namespace, opts: Sequence[str], device: str | None, fast: bool) -> CfgNode:
    """The configuration that --model, --config-file, --random-weights and --opts choose; `opts` come before --opts."""
    name = options.model
    if name is None and options.config_file is None and not options.random_weights:
        name = options.default_model
    found = None if name is None else find_pretrained(name)
    return load_inference_cfg(
        found.config if found else options.config_file or configs_folder() / DEFAULT_CONFIG,
        [*opts, *options.opts],
        found.weights if found else None,
        device=device,
        random_weights=options.random_weights,
        fast=fast,
    )
