"""Data sets made on the spot: seeded, small, in the official layouts.

    from replication.data.embedded import RECIPES, sets

    root = sets.ensure(RECIPES["micro"], "voc", Path("data"))

Numbers on them are compared with each other only, never with published ones. Recipes and their
fingerprints need nothing but the standard library, so that planning stays quick; `sets` draws.
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

__all__ = ["RECIPES", "ROLES", "Appearance", "Recipe", "Role", "SceneRecipe", "fingerprint"]
