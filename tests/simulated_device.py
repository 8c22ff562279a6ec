"""A simulated CUDA device: tensors are computed on the CPU, and each reports the device that it would be on.

Code that runs under `Simulated` sees that `tensor.device`, and gets a real device's errors for what would fail there:
tensors of two devices in one operation, or `.numpy()` of a tensor outside the CPU's memory. Calls that would wait for a
real device are recorded with the line that made them. Only calls from Python are seen, not what torch's own C++ does
inside one call and in the backward pass.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils import checkpoint
from torch.utils._pytree import tree_flatten

import viaduct

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
PACKAGE = str(Path(viaduct.__file__).parent)

READS = {"item", "tolist", "__bool__", "__float__", "__int__", "__index__", "__contains__", "equal", "allclose"}
"""Calls that copy a value to the CPU."""
SIZES = {"nonzero", "argwhere", "masked_select", "unique", "unique_consecutive", "bincount"}
"""Calls whose result has a shape that only the device knows."""
MOVES = {"to", "cpu", "cuda"}
ABOUT = {"_has_compatible_shallow_copy_type", "data", "_version", "is_set_to"}
"""Calls that concern tensors as objects, wherever they are."""
INDEXING = {"__getitem__", "__setitem__", "index_put", "index_put_"}


class Simulated(TorchFunctionMode):
    """While this mode is active there is a device "cuda"."""

    def __init__(self) -> None:
        super().__init__()
        self._there: dict[int, StorageWeakRef] = {}
        self._pinned: dict[int, StorageWeakRef] = {}
        self.waits: list[str] = []
        """Calls that waited for the device: "call at file:line"."""
        self._is_backward = False
        self.synchronised = 0
        """Number of explicit synchronisations."""
        self.calls = 0
        """Number of operations on the device."""

    def synchronise(self) -> None:
        """Stand-in for waiting until the device is idle; counts the calls."""
        self.synchronised += 1

    def is_there(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor is on the device."""
        return _holds(self._there, tensor)

    def __torch_function__(
        self, func: Callable[..., Any], _types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        name = _name(func)
        first = args[0] if args and isinstance(args[0], torch.Tensor) else None
        if name == "device" and first is not None:
            return CUDA if self.is_there(first) else func(*args, **given)
        if name in ABOUT:
            return func(*args, **given)
        if name == "is_cuda" and first is not None:
            return self.is_there(first)
        if name in ("grad", "__deepcopy__") and first is not None:
            return self._marked(func(*args, **given), self.is_there(first))
        if name == "backward" and first is not None:
            return self._backward(first)
        if name == "pin_memory" and first is not None:
            copy = first.clone()
            _hold(self._pinned, copy)
            return copy
        if name in MOVES and first is not None:
            return self._move(name, first, args[1:], given)
        if name == "copy_" and first is not None:
            return self._copy(func, first, *args[1:], **given)
        return self._compute(func, name, args, given)

    def _compute(self, func: Callable[..., Any], name: str, args: tuple[Any, ...], given: dict[str, Any]) -> Any:
        wanted = None if given.get("device") is None else _device(given["device"])
        if wanted is not None and wanted.type == "cuda":
            del given["device"]
        tensors = [one for one in tree_flatten((args, given))[0] if isinstance(one, torch.Tensor)]
        there = [self.is_there(one) for one in tensors]
        self.calls += any(there)
        if name in INDEXING:
            self._index(args, tensors, there)
        elif (
            any(there)
            and not self._is_backward
            and any(one.ndim for one, is_there in zip(tensors, there, strict=True) if not is_there)
        ):
            raise RuntimeError(f"Expected all tensors to be on the same device, but found two, cuda:0 and cpu ({name})")
        elif any(there) and not there[0] and name.endswith("_"):
            raise RuntimeError(f"{name}: a tensor on the CPU is changed by one on cuda:0")
        if any(there) and name in ("numpy", "__array__", "__dlpack__"):
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first")
        if any(there) and (name in READS | SIZES or (name == "where" and len(args) == 1)):
            self._wait(name)
        result = func(*args, **given)
        return self._marked(result, any(there) if wanted is None else wanted.type == "cuda")

    def _index(self, args: tuple[Any, ...], tensors: list[torch.Tensor], there: list[bool]) -> None:
        """Indices on the CPU must be copied, and only the device knows how many entries a mask selects: both wait."""
        if there[0]:
            index = [one for one in tree_flatten(args[1])[0] if isinstance(one, torch.Tensor)]
            if any(one.dtype == torch.bool for one in index):
                self._wait("indexing by a mask")
            if any(one.ndim and not self.is_there(one) for one in index):
                self._wait("indexing by a tensor on the CPU")
        elif any(there):
            raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu)")

    def _move(self, name: str, tensor: torch.Tensor, args: tuple[Any, ...], given: dict[str, Any]) -> torch.Tensor:
        is_there = self.is_there(tensor)
        target = {"cpu": CPU, "cuda": CUDA}.get(name) or (CUDA if is_there else CPU)
        rest: list[Any] = []
        for one in (*args, given.pop("device", None)):
            if isinstance(one, torch.Tensor):
                target = CUDA if self.is_there(one) else CPU
                rest.append(one.dtype)
            elif isinstance(one, (str, torch.device)):
                target = _device(one)
            elif isinstance(one, torch.dtype):
                rest.append(one)
        if target.type == "meta":
            return tensor.to(target, *rest)
        blocks = not (given.get("non_blocking") or args[1:2] == (True,))
        if (target.type == "cuda") == is_there:
            return self._marked(tensor.to(*rest, **given) if rest or given else tensor, is_there)
        if is_there or blocks or not _holds(self._pinned, tensor):
            self._wait(f"a copy to {target.type}")
        moved = tensor.to(*rest, **given) if rest or given else tensor
        return self._marked(moved.clone() if _same(moved, tensor) else moved, not is_there)

    def _backward(self, loss: torch.Tensor) -> None:
        """Recomputation in the backward pass works as in the forward pass; gradients from C++ are taken as they are."""
        self._is_backward, ones = True, (torch.ones_like(loss),)
        try:
            with self:  # torch.autograd.backward would call this mode again
                torch.autograd.graph._engine_run_backward(
                    (loss,), ones, False, False, (), allow_unreachable=True, accumulate_grad=True
                )
        finally:
            self._is_backward = False

    def _copy(self, func: Callable[..., Any], first: torch.Tensor, other: Any, *args: Any, **given: Any) -> Any:
        if isinstance(other, torch.Tensor) and self.is_there(first) != self.is_there(other):
            self._wait("copy_")
        return func(first, other, *args, **given)

    def _marked(self, result: Any, there: bool) -> Any:
        for one in tree_flatten(result)[0] if there else ():
            if isinstance(one, torch.Tensor):
                _hold(self._there, one)
        return result

    def _wait(self, what: str) -> None:
        frame = sys._getframe(1)
        while frame.f_back is not None and not frame.f_code.co_filename.startswith(PACKAGE):
            frame = frame.f_back
        place = Path(frame.f_code.co_filename)
        self.waits.append(f"{what} at {place.parent.name}/{place.name}:{frame.f_lineno} ({frame.f_code.co_name})")


class _Event:
    """Stand-in for torch.cuda.Event."""

    def __init__(self, **_: Any) -> None: ...

    def record(self, *_: Any) -> None: ...

    def synchronize(self) -> None: ...


@contextmanager
def simulated(patch: pytest.MonkeyPatch, *, precision: str = "fp32") -> Iterator[Simulated]:
    """Provides a CUDA device whose native format for matrix products is `precision`."""
    from accelerate.state import AcceleratorState

    mode = Simulated()
    patch.setattr(torch.cuda, "is_available", lambda: True)
    patch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or precision == "bf16"
    )
    patch.setattr(torch.cuda, "get_device_capability", lambda *_: (7, 0) if precision == "fp16" else (6, 0))
    patch.setattr(torch.cuda, "get_device_name", lambda *_: "a simulated device")
    patch.setattr(torch.cuda, "current_device", lambda: 0)
    patch.setattr(torch.cuda, "device_count", lambda: 1)
    patch.setattr(torch.cuda, "set_device", lambda *_: None)
    patch.setattr(torch.cuda, "manual_seed_all", lambda *_: None)
    patch.setattr(torch.cuda, "synchronize", lambda *_: mode.synchronise())
    patch.setattr(torch.cuda, "max_memory_allocated", lambda *_: 3 * 10**9)
    patch.setattr(torch.cuda, "get_device_properties", lambda *_: types.SimpleNamespace(uuid="0-1"))
    patch.setattr(torch.cuda, "Event", _Event)
    patch.setattr(torch.cuda, "device", lambda *_: nullcontext())
    patch.setattr(torch.cuda, "mem_get_info", lambda *_: (2**33, 2**34))
    grouped = torch._C._group_tensors_by_device_and_dtype

    def by_device(lists: Any, with_indices: bool = False) -> Any:
        groups = grouped(lists, with_indices).items()
        return {(next(one for one in group[0][0] if one is not None).device, key[1]): group for key, group in groups}

    patch.setattr(torch._C, "_group_tensors_by_device_and_dtype", by_device)
    # Hooks that torch calls from C++ see where a tensor really is.
    patch.setitem(checkpoint._allowed_determinism_checks_to_fns, "default", lambda tensor: tensor.shape)
    AcceleratorState._reset_state(reset_partial_state=True)
    try:
        with mode:
            yield mode
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)


def _name(func: Callable[..., Any]) -> str:
    """The name of a called function; of a property's getter or setter, the property's name."""
    name = getattr(func, "__name__", str(func))
    return getattr(getattr(func, "__self__", None), "__name__", name) if name in ("__get__", "__set__") else name


def _device(given: Any) -> torch.device:
    return torch.device("cuda", given) if isinstance(given, int) else torch.device(given)


def _key(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _holds(known: dict[int, StorageWeakRef], tensor: torch.Tensor) -> bool:
    with torch._C.DisableTorchFunction():
        found = known.get(_key(tensor))
    return found is not None and not found.expired()


def _hold(known: dict[int, StorageWeakRef], tensor: torch.Tensor) -> None:
    if len(known) > 20_000:
        for key in [key for key, one in known.items() if one.expired()]:
            del known[key]
    with torch._C.DisableTorchFunction():
        known[_key(tensor)] = StorageWeakRef(tensor.untyped_storage())


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    with torch._C.DisableTorchFunction():
        return _key(one) == _key(other)
