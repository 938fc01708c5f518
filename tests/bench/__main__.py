"""`make bench`: run the benchmarks, print a table, keep the rows in var/bench/latest.json.

A module `bench_<name>.py` beside this file offers `run() -> list[Row]`. Name some of them to run only these; rows of
the others stay as they were.
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import sys
import sysconfig
import time
from pathlib import Path

HERE = Path(__file__).parent
OUT = Path("var/bench/latest.json")
NAMES = sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))


def interpreter() -> str:
    """The interpreter and whether it was built with profile-guided optimisation: that alone is worth 1.2 to 1.7."""
    pgo = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    return f"{platform.python_implementation()} {platform.python_version()} ({'PGO' if pgo else 'no PGO'})"


def show(rows: list[dict[str, object]]) -> None:
    head = ("name", "value", "unit", "limit", "ratio", "aim", "met")
    cells = [head, *([_cell(row.get(key)) for key in head] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, float):
        return f"{value:,.3f}" if abs(value) < 10 else f"{value:,.0f}"
    return str(value)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *NAMES], help="benchmarks to run; all by default")
    chosen = parser.parse_args().names or NAMES
    kept = {}
    if OUT.exists():
        kept = {row["name"]: row for row in json.loads(OUT.read_text(encoding="utf-8"))["rows"]}
    fresh: list[dict[str, object]] = []
    for name in chosen:
        print(f"… {name}", file=sys.stderr)
        rows = importlib.import_module(f"tests.bench.bench_{name}").run()
        fresh += [{"bench": name, **row} for row in rows]
    kept |= {row["name"]: row for row in fresh}
    OUT.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "interpreter": interpreter(),
        "rows": list(kept.values()),
    }
    OUT.write_text(json.dumps(document, indent=1, ensure_ascii=False), encoding="utf-8")
    print(f"{interpreter()}; rows in {OUT}")
    show(fresh)
    return 0


if __name__ == "__main__":
    sys.exit(main())
