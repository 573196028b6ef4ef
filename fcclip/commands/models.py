"""The models that have a name: python -m fcclip models [NAME...] [--check] [--markdown]

Lists them with licence, size and published figures, and says which are here. A name alone fetches nothing; a model is
fetched when it is first asked for (`--model NAME`, MODEL.WEIGHTS zoo:NAME), or with `--fetch`.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence

from tabulate import tabulate

from fcclip.engine.errors import run_command
from fcclip.files.download import verify
from fcclip.files.sources import HandSource
from fcclip.files.transfer import readable_size
from fcclip.zoo import (
    SHIPPED,
    WEIGHT_SUFFIXES,
    PublishedModel,
    published_models,
    shipped_models,
    weights_folder,
)

_PAGE = """\
# Model zoo

<!-- Written by `python -m fcclip models --markdown > MODEL_ZOO.md` from fcclip/assets/zoo.json. -->

Checkpoints that their authors published and this package runs. Each is fetched when its name is first asked for, into
the folder `weights` of the cache folder, and checked; `python -m fcclip models` lists what is here. The figures are
those that the authors publish, not measurements of this project. Published figures of FC-CLIP need the published lists
of class names: `MODEL.FC_CLIP.VOCABULARY_DIR published`. Mask-Adapter, MAFT+ and OVRCOAT are FC-CLIP's successors
([docs/family.md](docs/family.md)); PQ of MAFT+ beyond ADE20K is as OVRCOAT's authors measured it. None of the addresses
could be tried where this page was written.

{table}

Cascade-CLIP's checkpoints are on Baidu, where no program can fetch them: save the file as
`weights/published/NAME.pth` in the cache folder, and it is converted at the first use. Those of ZegCLIP are converted
after they were fetched. FC-CLIP's lack the frozen CLIP, which open_clip fetches; the successors' hold a CLIP, which
MAFT+ and OVRCOAT fine-tuned.

Besides, four small models of a rendered world come with the package ([docs/panoshapes.md](docs/panoshapes.md)):
`panoshapes`, an FC-CLIP, `panoshapes_mask_adapter`, the same with a Mask-Adapter, `zegclip_small` and
`cascade_clip_small`.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m fcclip models", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="models (default: all)")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--check", action="store_true", help="read what is here in full and compare the digests")
    action.add_argument("--fetch", action="store_true", help="fetch the named models now")
    action.add_argument("--markdown", action="store_true", help="print the page MODEL_ZOO.md")
    options = parser.parse_args(argv)
    unknown = [name for name in options.names if name not in published_models() and name not in shipped_models()]
    if unknown:
        parser.error(f"there is no model {', '.join(unknown)}; without a name all are listed")
    if options.fetch and not options.names:
        parser.error("--fetch needs the names of models")
    chosen = [model for name, model in published_models().items() if not options.names or name in options.names]
    if options.markdown:
        print(model_zoo_page(), end="")
        return 0
    if options.check:
        return _check(chosen)
    if options.fetch:
        return _fetch(chosen)
    print(_listing(chosen, [name for name in shipped_models() if not options.names or name in options.names]))
    return 0


def model_zoo_page() -> str:
    """The text of MODEL_ZOO.md."""
    rows = [
        (
            f"`{model.name}`",
            f"[{model.system}]({model.page})",
            model.clip,
            model.trained_on,
            figures(model.published),
            model.licence,
            _command(model),
        )
        for model in published_models().values()
    ]
    headers = ("name", "system", "CLIP", "trained on", "published figures", "licence", "command")
    lines = [headers, ("---",) * len(headers), *rows]
    return _PAGE.format(table="\n".join(f"| {' | '.join(cells)} |" for cells in lines))


def figures(published: Mapping[str, Mapping[str, float]]) -> str:
    """As "ADE20K PQ 26.8, AP 16.8; COCO PQ 54.4"."""
    parts = (
        f"{name} {', '.join(f'{key} {value:.1f}' for key, value in row.items())}" for name, row in published.items()
    )
    return "; ".join(parts) or "none"


def _command(model: PublishedModel) -> str:
    if not model.config.startswith("zero_shot/"):
        return f'`python -m fcclip segment photo.jpg --output out.png --vocabulary "cat; sofa" --model {model.name}`'
    return f"`python train_net.py --eval-only --config-file configs/{model.config} MODEL.WEIGHTS zoo:{model.name}`"


def _listing(models: Sequence[PublishedModel], shipped: Sequence[str]) -> str:
    rows = []
    for name in shipped:
        files = [path for path in (SHIPPED / name).iterdir() if path.suffix in WEIGHT_SUFFIXES]
        rows.append((name, "here", readable_size(files[0].stat().st_size), "Apache-2.0", "see docs/panoshapes.md"))
    for model in models:
        path = model.find()
        known = path.stat().st_size if path else model.expected.size
        size = readable_size(known) if known else "unknown"
        rows.append((model.name, "here" if path else "-", size, model.licence, figures(model.published)))
    table = tabulate(rows, headers=("model", "here", "size", "licence", "published figures"), tablefmt="simple")
    return "\n\n".join([table, f"folder of checkpoints: {weights_folder()}", *_by_hand_notes(models)])


def _by_hand_notes(models: Sequence[PublishedModel]) -> list[str]:
    """One sentence for all models that are not here and that a person has to fetch from the same place."""
    places: dict[str, list[PublishedModel]] = {}
    for model in models:
        if model.find() is None and all(isinstance(source, HandSource) for source in model.sources):
            places.setdefault(model.sources[0].address, []).append(model)
    return [
        f"no program can fetch {', '.join(model.name for model in group)}: get the files from {place} and save them as "
        f"{group[0].fetched_file.with_name('NAME.pth')}"
        for place, group in places.items()
    ]


def _check(models: Sequence[PublishedModel]) -> int:
    problems = 0
    for model in models:
        path = model.fetched_file
        if path.is_file():
            problem = verify(path, model.expected)
            problems += problem is not None
            print(f"{model.name}: {problem or 'as it was fetched'}")
    return int(problems > 0)


def _fetch(models: Sequence[PublishedModel]) -> int:
    def fetch_all() -> None:
        for model in models:
            print(f"{model.name}: {model.fetch()}")

    logging.basicConfig(format="%(message)s", level=logging.INFO)
    return run_command("fcclip models", fetch_all)
