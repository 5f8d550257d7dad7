"""What a rule reports."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """One thing that is not as it must be: what was found, and what must be."""

    value: str
    expected: str
    # Told, but no ground to distrust the number.
    warning: bool = False


def some(names: Sequence[str], most: int = 3) -> str:
    """The first few names and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
