"""What the commands have in common: options, what users write in them, exit statuses."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

from replication.errors import ReplicationError

HOME = Path(__file__).resolve().parents[1]
DEVICES = ("auto", "cpu", "cuda")
EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130


class Parser(argparse.ArgumentParser):
    """A mistake is one line: what, and what there is that comes nearest to it."""

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> Any:
        options, unknown = self.parse_known_args(args, namespace)
        for word in unknown:
            name = word.partition("=")[0]
            if name.startswith("-"):
                from replication.spec.checks import nearest  # here: --help needs none of it

                self.error(f"{name}: no such option; {nearest(name, self._option_string_actions)}")
            self.error(f"{word}: no option stands before it; --help lists them")
        return options

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"error: {message}\n")


def add_places(parser: argparse.ArgumentParser) -> None:
    """--results, --tables and --tiers."""
    where = parser.add_argument_group("where")
    where.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    where.add_argument("--tables", type=Path, default=HOME / "tables", metavar="DIR")
    where.add_argument("--tiers", type=Path, default=HOME / "tiers", metavar="DIR")


def add_inputs(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """--data and --weights."""
    parser.add_argument(
        "--data", action="append", default=[], metavar="ROLE=PATH", help="real data for a role"
    )
    parser.add_argument(
        "--weights", action="append", default=[], metavar="BACKBONE=FILE",
        help="pretrained ImageNet weights, for tiers that do not pretrain",
    )  # fmt: skip


def places(options: argparse.Namespace) -> list[str]:
    """The options of `add_places` that are not at their defaults, to be given again."""
    defaults = {"results": Path("results"), "tables": HOME / "tables", "tiers": HOME / "tiers"}
    return [
        word
        for name, default in defaults.items()
        if getattr(options, name) != default
        for word in (f"--{name}", str(getattr(options, name)))
    ]


def pairs(given: Sequence[str], option: str, form: str) -> dict[str, str]:
    """Options of the form NAME=VALUE. Raises ReplicationError for one that is not."""
    found = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not (name and sign and value):
            raise ReplicationError(f"{option} {text}: must be {form}")
        found[name] = value
    return found


def hashes(weights: Mapping[str, str]) -> dict[str, str]:
    """The sha256 of each file, by backbone. Raises ReplicationError for one that cannot be read."""
    found = {}
    for backbone, path in weights.items():
        try:
            found[backbone] = sha256(Path(path).read_bytes()).hexdigest()
        except OSError as error:
            raise ReplicationError(f"--weights: {path}: {error.strerror}") from None
    return found


def device_name(name: str) -> str:
    """What --device may say, whatever the machine has. Raises ReplicationError for another word."""
    if name not in DEVICES:
        *others, last = DEVICES
        raise ReplicationError(
            f"--device {name}: no such device; it is {', '.join(others)} or {last}"
        )
    return name


def device(name: str) -> str:
    """ "auto" is the GPU where there is one. Raises ReplicationError for a device that is not."""
    device_name(name)

    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ReplicationError("--device cuda: torch finds no GPU here; use --device cpu")
    return name


def guarded(command: Callable[[], int]) -> int:
    """Run a command; a user's mistake becomes a line on stderr and status 2."""
    try:
        return command()
    except ReplicationError as problem:
        print("\n".join(f"error: {line}" for line in str(problem).splitlines()), file=sys.stderr)
        return EXIT_USAGE
    except OSError as problem:
        where = f"{problem.filename}: " if problem.filename else ""
        print(f"error: {where}{problem.strerror or problem}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        print("interrupted; give the same command again", file=sys.stderr)
        return EXIT_INTERRUPTED
