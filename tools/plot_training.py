"""Draw the loss of a training, and a metric of its evaluations, from OUTPUT_DIR/metrics.json.

python tools/plot_training.py OUTPUT_DIR --metric panoptic_seg/PQ --output curve.png
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from fcclip.commands.errors import run_tool


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output_dir", type=Path, metavar="OUTPUT_DIR", help="of the training")
    parser.add_argument("--metric", default="panoptic_seg/PQ", help="default: %(default)s")
    parser.add_argument("--output", type=Path, default=Path("training.png"), help="picture (default: %(default)s)")
    options = parser.parse_args(arguments)
    path = options.output_dir / "metrics.json"
    if not path.is_file():
        parser.error(f"{options.output_dir} has no {path.name}; is it the OUTPUT_DIR of a training?")
    losses = read_curve(path, "total_loss")
    if not losses:
        parser.error(f"{path} holds no losses yet")
    # The last evaluation is recorded after the last iteration.
    metric = {min(iteration, max(losses)): value for iteration, value in read_curve(path, options.metric).items()}
    curves = {"total_loss": losses, options.metric: metric}
    draw(curves, options.output)
    for name, curve in curves.items():
        if curve:
            first, last = min(curve), max(curve)
            print(f"{name}: {curve[first]:.2f} at iteration {first}, {curve[last]:.2f} at iteration {last}")
    print(f"written: {options.output}")


def read_curve(path: Path, name: str) -> dict[int, float]:
    """Value by iteration (from 1); what a resumed run wrote again counts."""
    lines = (json.loads(line) for line in path.read_text().splitlines())
    return {line["iteration"] + 1: line[name] for line in lines if name in line}


def draw(curves: dict[str, dict[int, float]], output: Path) -> None:
    """The first curve on the left axis, the second, if it has points, on the right."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, left = plt.subplots(figsize=(7, 4), dpi=120)
    axes: list[Any] = [left, left.twinx()] if list(curves.values())[1] else [left]
    for axis, color, (name, curve) in zip(axes, ("tab:blue", "tab:orange"), curves.items(), strict=False):
        iterations = sorted(curve)
        axis.plot(iterations, [curve[i] for i in iterations], color=color, marker="." if len(curve) < 40 else "")
        axis.set_ylabel(name, color=color)
        axis.set_ylim(bottom=0)
    left.set_xlabel("iteration")
    left.grid(alpha=0.3)
    figure.tight_layout()
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output)
    plt.close(figure)


if __name__ == "__main__":
    sys.exit(run_tool(main))
