"""`make faults`: commands are killed at random moments and repeated; the outcome must be that of an undisturbed run.

python -m tests.faults [OPERATION ...] [--times N] [--seed N] [--only NUMBER] [--disk] [--table FILE]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tabulate import tabulate

from tests.faults.fetch import publish
from tests.faults.kills import PHASES, Fault, Trial, first_in_time
from tests.faults.operations import OPERATIONS
from tests.faults.zygote import Zygote
from tests.files.servers import Server


def main() -> int:
    args = _parse()
    by_name = {operation.name: operation for operation in OPERATIONS}
    chosen = [by_name[name] for name in args.operations]
    numbers = range(args.times) if args.only is None else range(args.only, args.only + 1)
    rows, faults = [], 0
    with tempfile.TemporaryDirectory(dir=args.work) as work, Server().running() as server, Zygote() as zygote:
        (Path(work) / "packed").mkdir()
        publish(server, Path(work) / "packed")
        for operation in chosen:
            trial = Trial(operation, zygote, Path(work) / operation.name, server.url)
            trial.run_undisturbed()
            found, attempt = [], trial.fill if args.disk else trial.kill
            for number in numbers:
                found.append(first_in_time(attempt, args.seed, operation.name, number))
                if found[-1].wrong or found[-1].left:
                    faults += 1
                    _tell(found[-1], f"{operation.name}{' --disk' * args.disk} --seed {args.seed}")
            rows.append(_row(operation.name, found, "full disks" if args.disk else "kills"))
            print(f"{operation.name}: {rows[-1]}, undisturbed {trial.seconds:.1f} s", file=sys.stderr, flush=True)
    rows.append({"operation": "all"} | {key: sum(row[key] for row in rows) for key in list(rows[0])[1:]})
    table = tabulate(rows, headers="keys", tablefmt="github")
    print(table)
    if args.table:
        args.table.write_text(table + "\n", encoding="utf-8")
    return 1 if faults else 0


def _row(name: str, found: list[Fault], title: str) -> dict[str, object]:
    phases = Counter(fault.phase for fault in found)
    return {
        "operation": name,
        title: sum(phases[phase] for phase in PHASES),
        **{phase: phases[phase] for phase in PHASES},
        "drawn again": sum(fault.drawn_again for fault in found),
        "equal": sum(not fault.wrong for fault in found),
        "nothing left": sum(not fault.left for fault in found),
    }


def _tell(fault: Fault, words: str) -> None:
    operation = words.partition(" ")[0]
    print(f"{operation}: {fault}\n  once more: python -m tests.faults {words} --only {fault.number}", flush=True)


def _parse() -> argparse.Namespace:
    names = [operation.name for operation in OPERATIONS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("operations", nargs="*", metavar="OPERATION", help=f"default: all of {', '.join(names)}")
    parser.add_argument("--times", type=int, default=20, help="kills of each operation (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: %(default)s)")
    parser.add_argument("--disk", action="store_true", help="fill the disk instead; needs to be root")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="one kill alone, to see it once more")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the counts as a Markdown table")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="for what is written (default: the usual place)")
    args = parser.parse_args()
    args.operations = args.operations or names
    unknown = [name for name in args.operations if name not in names]
    if unknown:
        parser.error(f"there is no operation {unknown[0]}; choose from {', '.join(names)}")
    return args


if __name__ == "__main__":
    sys.exit(main())
