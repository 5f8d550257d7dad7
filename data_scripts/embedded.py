"""Make the generated data sets, or verify those already made.

    python -m data_scripts.embedded --root data [--recipe micro] [--role all]

Prints a line for each set: images per split, size on disk, seconds.
"""

import sys
import time
from pathlib import Path

from replication.arguments import Parser
from replication.data import embedded
from replication.data.embedded import sets
from replication.errors import ReplicationError


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit status."""
    parser = Parser(
        prog="python -m data_scripts.embedded",
        description="Make or verify the generated data sets.",
    )
    parser.add_argument("--root", type=Path, required=True, help="folder that holds the sets")
    parser.add_argument("--recipe", default="micro", choices=sorted(embedded.RECIPES))
    parser.add_argument("--role", default="all", choices=[*embedded.ROLES, "all"])
    options = parser.parse_args(arguments)

    recipe = embedded.RECIPES[options.recipe]
    try:
        for role in embedded.ROLES if options.role == "all" else (options.role,):
            one_set(recipe, role, options.root)
    except ReplicationError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def one_set(recipe: embedded.Recipe, role: embedded.Role, root: Path) -> None:
    """Make one set, or verify it if it is there, and print what it holds."""
    start = time.perf_counter()
    shown = _show if sys.stderr.isatty() else None
    made = sets.make(recipe, role, root, shown, processes=0)
    if not made.new:
        sets.verify(recipe, role, root)
    seconds = time.perf_counter() - start
    counts = ", ".join(f"{split} {count}" for split, count in made.manifest["counts"].items())
    megabytes = sum(p.stat().st_size for p in made.home.rglob("*") if p.is_file()) / 1e6
    done = "made" if made.new else "verified"
    print(f"{role:<10} {done:<8} {counts}; {megabytes:.1f} MB, {seconds:.1f} s  {made.home}")


def _show(done: int, total: int) -> None:
    if done % 50 == 0 or done == total:
        print(f"\r{done}/{total} images", end="\r" if done < total else "\n", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
