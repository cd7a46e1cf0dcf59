"""The size bars of the house: prints what is over a bar and ends with status 1. Run by `make check`.

Files: 90 % within 250 lines, none over 400. Functions (not those of tests): half within 10 lines, 90 % within 30, none
over 60. Migrations are lists of columns and are not measured. A function's lines run from `def` to its last statement,
docstring included.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("mdm", "enrollment", "profiles", "workers", "simulator", "bench", "tests", "alembic")
MIGRATIONS = "alembic/versions/"


@dataclass(frozen=True)
class Sized:
    """Something with a name and a length in lines."""

    lines: int
    name: str


@dataclass(frozen=True)
class Bar:
    """The bar of one kind of thing: its median, 90th percentile and longest, in lines."""

    kind: str
    median: int | None
    p90: int
    longest: int


FILE_BAR = Bar("file", median=None, p90=250, longest=400)
FUNCTION_BAR = Bar("function", median=10, p90=30, longest=60)


def files(root: Path) -> Iterator[Sized]:
    """List every source file with its number of lines."""
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*.py")):
            name = path.relative_to(root).as_posix()
            if not name.startswith(MIGRATIONS):
                yield Sized(len(path.read_text().splitlines()), name)


def functions(root: Path, names: list[str]) -> Iterator[Sized]:
    """List every function of these files, nested ones too."""
    for name in names:
        if name.startswith("tests/"):
            continue
        for node in ast.walk(ast.parse((root / name).read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield Sized((node.end_lineno or node.lineno) - node.lineno + 1, f"{name}:{node.lineno} {node.name}")


def percentile(sorted_lines: list[int], share: float) -> int:
    """Return the value that at least this share of the sorted values does not exceed."""
    return sorted_lines[max(0, -int(-share * len(sorted_lines) // 1) - 1)]


def complaints(things: list[Sized], bar: Bar) -> list[str]:
    """Return a line for each bar that is missed, with the names that miss it."""
    if not things:
        return []
    lines = sorted(thing.lines for thing in things)
    said = [
        f"{thing.name}: {thing.lines} lines, {bar.kind} bar {bar.longest}"
        for thing in things
        if thing.lines > bar.longest
    ]
    median, p90 = percentile(lines, 0.5), percentile(lines, 0.9)
    if bar.median is not None and median > bar.median:
        said.append(f"median {bar.kind} has {median} lines, bar {bar.median}")
    if p90 > bar.p90:
        worst = sorted((thing for thing in things if thing.lines > bar.p90), key=lambda thing: -thing.lines)
        said.append(f"90th percentile of {bar.kind}s is {p90} lines, bar {bar.p90}; the longest:")
        said.extend(f"  {thing.lines:4d} {thing.name}" for thing in worst[:20])
    return said


def main(root: Path = ROOT) -> int:
    """Measure the tree; print a summary, or every complaint."""
    all_files = list(files(root))
    all_functions = list(functions(root, [file.name for file in all_files]))
    said = complaints(all_files, FILE_BAR) + complaints(all_functions, FUNCTION_BAR)
    summary = f"{len(all_files)} files, {len(all_functions)} functions: " + (
        "too long" if said else "sizes within bars"
    )
    sys.stdout.write("\n".join([*said, summary]) + "\n")
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
