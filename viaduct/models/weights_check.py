"""Checks of an encoder's weights that require loading it: that they are complete, of the right size, and finite."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from viaduct.errors import UsageError
from viaduct.runs.encoder_files import weights_file


def first_line(error: BaseException) -> str:
    """The first line of an error's message, plus the second if the first ends with a colon. For an error that asks
    whether the folder's own code may run: that this is not done."""
    if needs_code(error):
        return "it needs code that comes with it, which is not run here"
    if isinstance(error, KeyError):
        return f"transformers does not know {error}"
    lines = str(error).splitlines() or [type(error).__name__]
    return " ".join(lines[: 1 + lines[0].rstrip().endswith(":")])


def needs_code(error: BaseException) -> bool:
    """Whether the error asks for permission to run the folder's own code."""
    return "trust_remote_code" in str(error)


def require_whole(source: str, model: Any, info: Any) -> None:
    """Raise UsageError, naming the file and the first weight, if weights of an encoder are missing, too many, of
    another size or not finite; `info`: the loading report of transformers."""
    state = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("pooler.")}
    wrong = [(name, "is missing") for name in sorted(info["missing_keys"]) if name in state]
    wrong += [
        (name, f"has the shape {tuple(found)}, but its configuration implies {tuple(meant)}")
        for name, found, meant in sorted(info["mismatched_keys"])
        if name in state
    ]
    prefix = f"{model.base_model_prefix}."
    stacks = set(map(_any_layer, state))
    wrong += [
        (name, "belongs to a layer that its configuration does not have")
        for name in sorted(name.removeprefix(prefix) for name in info["unexpected_keys"])
        if _any_layer(name) in stacks
    ]
    wrong += [(name, "has non-finite values") for name in not_finite(state)]
    if wrong:
        name, what = wrong[0]
        raise UsageError(
            f"{weights_file(Path(source)) or source}: {len(wrong)} of the encoder's weights are wrong: {name} {what}",
            fix="its config.json and its weights do not match, or are damaged; download both again",
        )


def _any_layer(name: str) -> str:
    """The weight's name with the layer number replaced by a wildcard."""
    return re.sub(r"\.\d+\.", ".*.", name)


def not_finite(state: Mapping[str, Any]) -> Iterable[str]:
    """Names of the weights with non-finite values."""
    # A sum of finite weights is finite, and takes a third of the time of checking each one.
    return [name for name, weights in state.items() if weights.is_floating_point() and not weights.sum().isfinite()]
