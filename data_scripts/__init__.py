"""One command per data set: get it, verify it, and lay it out as the loaders read it."""
