"""Parts of generated sets, for benchmarks that need no more."""

import dataclasses

from replication.data.cache import Decoded, Pictures


def first(data: Pictures, count: int) -> Decoded:
    """A generated split's first `count` pictures."""
    assert isinstance(data, Decoded)
    return dataclasses.replace(
        data, ids=data.ids[:count], sizes=data.sizes[:count], offsets=data.offsets[:count]
    )
