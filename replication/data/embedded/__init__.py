"""Data sets made on the spot: seeded, small, in the official layouts.

    root = ensure(RECIPES["micro"], "voc", Path("data"))

Numbers on them are compared with each other only, never with published ones.
"""

from replication.data.embedded.recipe import (
    RECIPES,
    ROLES,
    Appearance,
    Recipe,
    Role,
    SceneRecipe,
    fingerprint,
)
from replication.data.embedded.sets import Made, ensure, home, make, verify

__all__ = [
    "RECIPES",
    "ROLES",
    "Appearance",
    "Made",
    "Recipe",
    "Role",
    "SceneRecipe",
    "ensure",
    "fingerprint",
    "home",
    "make",
    "verify",
]
