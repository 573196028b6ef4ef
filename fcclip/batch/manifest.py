"""What a target holds: of which run it is, and how much of it is done."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

from detectron2.config import CfgNode

from fcclip.batch.parts import Part, cover, list_parts, parts_by_shard, read_notes
from fcclip.batch.plan import SUMMARY, Plan
from fcclip.batch.store import Store
from fcclip.batch.writing import Output
from fcclip.evaluation.origin import file_sha256, installed_versions
from fcclip.vocabulary import Vocabulary

MANIFEST = "manifest.json"
FINGERPRINT = "fingerprint.json"


def fingerprint(cfg: CfgNode, vocabulary: Vocabulary, threshold: float, output: Output) -> dict[str, str]:
    """All that results depend on, by name; places of files and the device are left out."""
    settings = cfg.clone()
    settings.defrost()
    settings.MODEL.WEIGHTS = settings.MODEL.DEVICE = ""
    parts = [settings.MODEL.dump(), settings.INPUT.dump(), settings.TEST.dump()]
    return {
        "weights": file_sha256(cfg.MODEL.WEIGHTS) if cfg.MODEL.WEIGHTS else "none",
        "vocabulary": repr(vocabulary),
        "configuration": hashlib.sha256("\0".join(parts).encode()).hexdigest(),
        "confidence threshold": str(threshold),
        "formats": " ".join([*output.formats, *(["loose"] if output.loose else [])]),
        "version": installed_versions().get("fcclip", "unknown"),
    }


def claim(store: Store, mine: dict[str, str]) -> None:
    """Mark a target as that of a run, or see that it is; one without any result may be had by anybody.

    Raises:
        ValueError: it holds results of another run; says in what they differ.
    """
    there = store.read_json(FINGERPRINT)
    if there is None:
        store.write_json(FINGERPRINT, mine)
        return
    other = [name for name in {**there, **mine} if there.get(name) != mine.get(name)]
    if other and not list_parts(store):
        store.remove(SUMMARY)
        store.write_json(FINGERPRINT, mine)
    elif other:
        values = "; ".join(f"{name}: {_short(there.get(name))} there, {_short(mine.get(name))} here" for name in other)
        raise ValueError(
            f"{store.address} holds results of another {' and another '.join(other)} ({values}); name another "
            "--output, or delete that one"
        )


def counted_parts(store: Store, plan: Plan) -> list[Part]:
    """The parts of which the results count, each image once."""
    by_shard = parts_by_shard(list_parts(store))
    return [part for shard, size in enumerate(plan.sizes) for part in cover(by_shard.get(shard, ()), size)[0]]


def write_manifest(store: Store, plan: Plan, run: dict[str, Any] | None = None) -> dict[str, Any]:
    """Count what is in the index, and write it down.

    Args:
        store: the target.
        plan: what is to be done.
        run: what the run that ends now has to tell.

    Returns:
        `total` images of the plan, which are either `done`, `failed` or `skipped` (not tried yet); `parts` of the
        index; `seconds` that reading, network and writing took, in all processes together; `run`.
    """
    parts = counted_parts(store, plan)
    notes = read_notes(store, parts)
    failed = sum(count for count, _ in notes)
    tried = sum(map(len, parts))
    seconds: Counter[str] = Counter()
    for _, spent in notes:
        seconds.update(spent)
    manifest = {
        "total": plan.total,
        "done": tried - failed,
        "failed": failed,
        "skipped": plan.total - tried,
        "parts": len(parts),
        "seconds": {name: round(value, 3) for name, value in sorted(seconds.items())},
        "run": run or {},
    }
    store.write_json(MANIFEST, manifest)
    return manifest


def _short(text: str | None, most: int = 60) -> str:
    return "none" if text is None else text if len(text) <= most else f"{text[:most]}..."
