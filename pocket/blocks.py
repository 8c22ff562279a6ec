"""Packs weights in 4 or 8 bits per value: exactly if they were published that way, otherwise rounded, and reported.

A matrix that came in blocks of 32 values, each a whole number from -8 to 7 times the block's scale in half precision,
is stored that way again, exactly. Any other matrix gets 8 bits per value and a scale per row, except small ones, which
stay as they are, like vectors.

Shape letters: N values, B blocks, H half a block, R rows, C columns.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

Array = NDArray[np.generic]
BLOCK = 32
LEAST = {np.dtype(np.float16): 2**18, np.dtype(np.float32): 2**14}
"""dtype -> minimum number of values for a matrix to be worth rounding."""


def pack(source: Path, target: Path) -> dict[str, int]:
    """Write the tensors of a safetensors file into a smaller one; returns form -> number of values stored in it."""
    written: dict[str, Array] = {}
    counts = {"exact": 0, "rounded": 0, "whole": 0}
    for name, values in load_file(source).items():
        blocks = in_blocks(values) if values.ndim == 2 else None
        if blocks is not None:
            form, parts = "exact", blocks
        elif values.ndim == 2 and values.size >= LEAST[values.dtype]:
            form, parts = "rounded", _in_bytes(values)
        else:
            form, parts = "whole", {"values": values}
        counts[form] += values.size
        shape = np.array(values.shape, dtype=np.int64)
        written |= {f"{name}|{part}": one for part, one in {**parts, "shape": shape}.items()}
    save_file(written, target)
    return counts


def unpack(source: Path, target: Path) -> None:
    """Write the tensors of a packed file as float32."""
    tensors: dict[str, dict[str, Array]] = {}
    for name, values in load_file(source).items():
        tensor, _, part = name.rpartition("|")
        tensors.setdefault(tensor, {})[part] = values
    save_file({name: _whole(parts) for name, parts in tensors.items()}, target, metadata={"format": "pt"})


def in_blocks(values: Array) -> dict[str, Array] | None:
    """The scales and the whole numbers, two per byte; None if the values are not of this form."""
    if values.size % BLOCK:
        return None
    blocks_BN = values.astype(np.float32).reshape(-1, BLOCK)
    largest_B = np.abs(blocks_BN).max(axis=1)
    scale_B = np.zeros(len(blocks_BN), np.float16)
    is_found_B = largest_B == 0
    for most in range(8, 0, -1):  # multiple of the scale that the largest value may be; the first exact fit is taken
        with np.errstate(over="ignore"):
            near_B = (largest_B / most).astype(np.float16)
        beside = (near_B, *(np.nextafter(near_B, np.float16(end)) for end in (0, np.inf)))
        for tried_B in (*beside, *(-one for one in beside)):
            is_new_B = ~is_found_B & (tried_B != 0) & np.isfinite(tried_B)
            is_new_B[is_new_B] = _fits(blocks_BN[is_new_B], tried_B[is_new_B], values.dtype)
            scale_B[is_new_B] = tried_B[is_new_B]
            is_found_B |= is_new_B
    if not is_found_B.all():
        return None
    whole_BN = (_whole_numbers(blocks_BN, scale_B) + 8).astype(np.uint8)
    low_BH, high_BH = whole_BN[:, : BLOCK // 2], whole_BN[:, BLOCK // 2 :]
    return {"scale": scale_B, "nibbles": low_BH | (high_BH << 4), "half": np.array([values.dtype == np.float16])}


def _whole_numbers(blocks_BN: NDArray[np.float32], scale_B: NDArray[np.float16]) -> NDArray[np.float32]:
    divisor_B1 = np.where(scale_B == 0, 1, scale_B).astype(np.float32)[:, None]
    return np.clip(np.rint(blocks_BN / divisor_B1), -8, 7)


def _fits(
    blocks_BN: NDArray[np.float32], scale_B: NDArray[np.float16], dtype: np.dtype[np.generic]
) -> NDArray[np.bool_]:
    made_BN = _whole_numbers(blocks_BN, scale_B) * scale_B.astype(np.float32)[:, None]
    found: NDArray[np.bool_] = (made_BN.astype(dtype).astype(np.float32) == blocks_BN).all(axis=1)
    return found


def _in_bytes(values: Array) -> dict[str, Array]:
    rows_RC = values.astype(np.float32)
    scale_R1 = np.maximum(np.abs(rows_RC).max(axis=1, keepdims=True) / 127, np.finfo(np.float32).tiny)
    return {"bytes": np.rint(rows_RC / scale_R1).astype(np.int8), "scale": scale_R1.astype(np.float32)}


def _whole(parts: dict[str, Array]) -> NDArray[np.float32]:
    shape = tuple(parts["shape"].astype(int))
    if "values" in parts:
        found = parts["values"].astype(np.float32)
    elif "bytes" in parts:
        found = parts["bytes"].astype(np.float32) * parts["scale"].astype(np.float32)
    else:
        nibbles_BH = parts["nibbles"].astype(np.uint8)
        whole_BN = np.concatenate([nibbles_BH & 15, nibbles_BH >> 4], axis=1).astype(np.float32) - 8
        found = whole_BN * parts["scale"].astype(np.float32)[:, None]
        found = found.astype(np.float16).astype(np.float32) if parts["half"][0] else found
    return np.ascontiguousarray(found.reshape(shape))
