"""Which labelled rows are trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from viaduct.errors import DataError
from viaduct.models.numerics import derived_seed
from viaduct.rows import Row


def require_labels(name: str, split: str, rows: Sequence[Row]) -> None:
    """Raise DataError when a row has no gold label: it could be neither learned from nor scored."""
    bare = [row.id for row in rows if not row.is_labelled]
    if bare:
        raise DataError(
            f"{name} {split}: {len(bare):,} of {len(rows):,} rows have no label, the first is '{bare[0]}'",
            fix="use files with labels, or declare a substitution in the recipe",
        )


def sample_rows(rows: Sequence[Row], count: int | None, seed: int) -> tuple[Row, ...]:
    """`count` of the rows drawn by the seed, in file order; all of them when there are no more than that."""
    if count is None or count >= len(rows):
        return tuple(rows)
    chosen = np.random.default_rng(derived_seed("sample", seed)).choice(len(rows), count, replace=False)
    return tuple(rows[at] for at in sorted(chosen))
