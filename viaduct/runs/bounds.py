"""The types of a recipe's numbers: each has bounds, so that what no experiment can mean is refused when it is written.
That numbers are finite is said once, in `viaduct.runs.parts.Spec`. Bounds are no part of an identity."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt

MOST = 10**9
"""Of anything that is counted; NumPy and torch hold it in their smaller whole numbers."""

Count = Annotated[int, Ge(1), Le(MOST)]
"""How many, at least one."""
Natural = Annotated[int, Ge(0), Le(MOST)]
"""How many, and perhaps none; also a seed, or the number of a layer."""
Length = Annotated[int, Ge(8), Le(2**20)]
"""Tokens of an input: two texts with special tokens around them need seven."""
Layers = Annotated[int, Ge(1), Le(1000)]
Pieces = Annotated[int, Ge(20), Le(2**24)]
"""Of a vocabulary: special ones, and some characters."""
Width = Annotated[int, Ge(1), Le(2**16)]

Rate = Annotated[float, Ge(0), Le(10)]
"""Of learning."""
Weight = Annotated[float, Ge(0), Le(10**6)]
"""Of a loss beside others, or of decay."""
Share = Annotated[float, Ge(0), Le(1)]
SomeShare = Annotated[float, Gt(0), Le(1)]
"""More than nothing."""
InnerShare = Annotated[float, Gt(0), Lt(1)]
"""Neither nothing nor all."""
ShareBelowAll = Annotated[float, Ge(0), Lt(1)]
Above = Annotated[float, Gt(0), Le(10**6)]
"""More than nothing: passes over data, a norm, a temperature."""
