"""The command `fcclip`, also `python -m fcclip`: one sub-command for each thing that can be done."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """A sub-command.

    Attributes:
        module: has `main(argv)`; imported when the sub-command is called. It reads its flags before it imports what
            takes long, such as PyTorch, so that --help and a wrong flag answer at once.
        help: one line of what it does.
    """

    module: str
    help: str


COMMANDS = {
    "segment": Command("fcclip.commands.segment", "segment photographs by the names you give"),
    "predict": Command("fcclip.commands.predict", "segment very many images, on one machine or many"),
    "video": Command("fcclip.commands.video", "segment a video"),
    "serve": Command("fcclip.commands.serve", "serve a web page and an HTTP interface"),
    "models": Command("fcclip.commands.models", "list the trained models that have a name"),
    "data": Command("fcclip.commands.data", "fetch public datasets and prepare them"),
    "check": Command("fcclip.data.check", "verify a prepared dataset"),
    "train": Command("fcclip.commands.train", "train a model"),
    "evaluate": Command("fcclip.commands.evaluate", "evaluate a model on datasets"),
    "convert": Command("fcclip.commands.convert", "convert published checkpoints of ZegCLIP and Cascade-CLIP, or back"),
    "export": Command("fcclip.commands.export", "write a model as ONNX files that run without PyTorch"),
    "doctor": Command("fcclip.commands.doctor", "say what is installed, and what is missing"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a sub-command; returns its exit code, 2 where there is none of that name."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        print(usage())
        return 0 if words else 2
    name, *rest = words
    if name == "--version":
        from fcclip.commands.doctor import own_version

        print(own_version())
        return 0
    if name not in COMMANDS:
        print(f'fcclip: error: there is no command "{name}"\n\n{usage()}', file=sys.stderr)
        return 2
    try:
        return int(importlib.import_module(COMMANDS[name].module).main(rest) or 0)
    except ModuleNotFoundError as error:
        from fcclip.engine.errors import sentence_of

        print(f"fcclip: error: {sentence_of(error)}", file=sys.stderr)
        return 2


def usage() -> str:
    """What `fcclip --help` prints."""
    lines = [f"  {name:<10}{command.help}" for name, command in COMMANDS.items()]
    head = "usage: fcclip COMMAND ...       (fcclip COMMAND --help tells more)"
    example = '  fcclip segment photo.jpg --output segmented.png --vocabulary "cat,kitten; sofa,couch; wall=stuff"'
    return "\n".join([head, "", *lines, "", "for example", example])


if __name__ == "__main__":
    sys.exit(main())
