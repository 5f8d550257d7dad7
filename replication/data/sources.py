"""A tier's data roles: from a source's name to a path, a fingerprint, and decoded splits.

A source is "embedded:RECIPE" (generated once, cached) or the path of a real set on disk. Planning
asks for fingerprints only: what draws and decodes is imported where it is used.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from replication.data import embedded, layouts
from replication.errors import DataError

if TYPE_CHECKING:
    from replication.data.cache import Announce, Labelled, Pictures
    from replication.data.reading import Progress

ROLES = ("voc", "coco", "cityscapes", "imagenet")
EMBEDDED = "embedded:"
# In the place of a fingerprint, where no data are given for the role.
MISSING = "missing"


def cache_folder() -> Path:
    """Where generated and decoded sets are kept: $REPLICATION_DATA, else this checkout's data/."""
    default = Path(__file__).resolve().parents[2] / "data"
    return Path(os.environ.get("REPLICATION_DATA") or default)


@dataclass(frozen=True, kw_only=True)
class Source:
    """One role's data. `at` is "embedded:RECIPE", a path, or "" when the user must name one."""

    role: str
    at: str

    def __post_init__(self) -> None:
        if self.recipe is not None and self.recipe not in embedded.RECIPES:
            raise DataError(
                f"data {self.role}={self.at}: no such recipe; "
                f"known: {', '.join(EMBEDDED + name for name in embedded.RECIPES)}"
            )

    @property
    def recipe(self) -> str | None:
        return self.at.removeprefix(EMBEDDED) if self.at.startswith(EMBEDDED) else None

    def root(self, progress: Progress | None = None) -> Path:
        """The folder of the set; a generated set is made first if it is not there."""
        if not self.at:
            raise DataError(f"no data for the role {self.role}; give --data {self.role}=PATH")
        if self.recipe is not None:
            from replication.data.embedded import sets

            return sets.ensure(
                embedded.RECIPES[self.recipe],
                cast(embedded.Role, self.role),
                cache_folder(),
                progress,
                processes=0,
            )
        path = Path(self.at).expanduser()
        if not path.is_dir():
            raise DataError(f"{path}: no such folder (--data {self.role}={self.at})")
        return path


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The sources of a run, by role."""

    by_role: Mapping[str, Source]
    # Whether splits are decoded once into memory maps; else each picture is read from its file.
    cached: bool = True

    @classmethod
    def of(
        cls, tier_data: Mapping[str, str], overrides: Mapping[str, str], *, cached: bool = True
    ) -> Sources:
        """The tier's sources with the user's `--data ROLE=PATH` in their place."""
        for role in overrides:
            if role not in ROLES:
                raise DataError(f"--data {role}=…: no such role; known: {', '.join(ROLES)}")
        merged = {role: overrides.get(role, tier_data.get(role, "")) for role in ROLES}
        by_role = {role: Source(role=role, at=at) for role, at in merged.items()}
        return cls(by_role=by_role, cached=cached)

    def fingerprint(self, role: str, split: str) -> str:
        """What the split holds, as a hash; "missing" where no data are given for the role.

        A generated set is named by its recipe, so that planning does not need to make it.
        """
        source = self.by_role[role]
        if source.recipe is not None:
            known = embedded.fingerprint(embedded.RECIPES[source.recipe], cast(embedded.Role, role))
            return hashlib.sha256(f"{known} {split}".encode()).hexdigest()
        if not source.at:
            return MISSING
        if role == "imagenet":
            return layouts.folders(source.root(), split).fingerprint()
        return self._listing(role, split, None).fingerprint()

    def find(self, role: str) -> None:
        """Raises DataError where the user has yet to name the role's data; makes and reads none."""
        if self.by_role[role].recipe is None:
            self.by_role[role].root()

    def segmentation(
        self,
        role: str,
        split: str,
        progress: Progress | None = None,
        *,
        labelled: bool = True,
        announce: Announce | None = None,
    ) -> Pictures:
        """A checked segmentation split. COCO's classes are the `voc` set's, by name.

        With labelled=False its masks are not looked for: a test set has none.
        """
        from replication.data import cache

        listing = self._listing(role, split, progress, labelled)
        if self.cached:
            return cache.decode(listing, cache_folder(), progress, announce)
        return cache.undecoded(listing, cache_folder(), progress)

    def ids(self, role: str, split: str) -> frozenset[str]:
        """The ids of a split of a segmentation role."""
        return frozenset(self._listing(role, split, None).ids)

    def classification(self, split: str, progress: Progress | None = None) -> Labelled:
        """A decoded split of the role `imagenet`."""
        from replication.data import cache

        root = self.by_role["imagenet"].root(progress)
        return cache.decode_folders(layouts.folders(root, split), cache_folder(), progress)

    def _listing(
        self, role: str, split: str, progress: Progress | None, labelled: bool = True
    ) -> layouts.Listing:
        classes = None
        if role == "coco" and self.by_role["voc"].at:
            classes = layouts.class_names(self.by_role["voc"].root())
        root = self.by_role[role].root(progress)
        return layouts.listing(role, root, split, classes, labelled=labelled)
