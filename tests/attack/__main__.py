"""`make attack`: every attack of every group, and how they ended.

python -m tests.attack [GROUP ...] [--table FILE]
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from tabulate import tabulate

from tests.attack.groups import GROUPS, outcomes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"default: all of {', '.join(GROUPS)}")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the counts as a Markdown table")
    args = parser.parse_args()
    unknown = [group for group in args.groups if group not in GROUPS]
    if unknown:
        parser.error(f"there is no group {unknown[0]}; choose from {', '.join(GROUPS)}")
    rows, faults = [], 0
    for group in args.groups or GROUPS:
        counts: Counter[str] = Counter()
        for attack, verdict in outcomes(group):
            counts[verdict.partition(":")[0]] += 1
            if verdict not in ("right", "refused"):
                print(f"{group}: {attack.name}: {verdict}", flush=True)
        rows.append({"group": group, "inputs": counts.total(), **{kind: counts[kind] for kind in KINDS}})
        faults += sum(counts[kind] for kind in KINDS[2:])
    rows.append({"group": "all", **{key: sum(row[key] for row in rows) for key in ("inputs", *KINDS)}})
    table = tabulate(rows, headers="keys", tablefmt="github")
    print(table)
    if args.table:
        args.table.write_text(table + "\n", encoding="utf-8")
    return 1 if faults else 0


KINDS = ("right", "refused", "wrong", "unclear", "hang")


if __name__ == "__main__":
    sys.exit(main())
