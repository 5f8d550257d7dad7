"""Asking git, where there is one."""

import subprocess
from pathlib import Path


class GitError(Exception):
    """No git, no checkout, or one that git will not read; the text is git's reason, one line."""


def git(folder: Path, *words: str) -> str:
    """What `git WORDS` prints in `folder`. Raises GitError."""
    try:
        done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True)
    except OSError as error:
        raise GitError(f"git: {error.strerror}") from None
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise GitError(said[0] if said else f"git {words[0]} failed")
    return done.stdout.rstrip("\n")


def uncommitted(folder: Path) -> list[str]:
    """Files of the checkout around `folder` that differ from its last commit, or are not in it.

    What git ignores is not listed. Raises GitError.
    """
    return [line[3:] for line in git(folder, "status", "--porcelain").splitlines()]


def committed(file: Path) -> bool:
    """Whether the file is in the last commit as it is on disk. Raises GitError."""
    folder = file.resolve().parent
    if not git(folder, "ls-files", "--", file.name):
        return False
    return not git(folder, "status", "--porcelain", "--", file.name)
