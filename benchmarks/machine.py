"""What was measured on."""

from typing import Any

from replication.environment import describe

SAID = ("processor", "cores", "threads", "python", "torch", "torchvision", "commit", "clean")


def here() -> dict[str, Any]:
    """The processor, the versions and the commit, for a file."""
    found = describe("cpu")
    return {name: found[name] for name in SAID}


def where() -> str:
    """The same in a few words, for a page."""
    found = here()
    text = f"{found['processor']} with {found['cores']} cores, torch {found['torch']}"
    if found["commit"] is not None:
        changes = "" if found["clean"] else " with uncommitted changes"
        text += f", commit {found['commit'][:12]}{changes}"
    return text
