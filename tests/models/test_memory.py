"""Memory that a step frees is reused by the next one."""

from __future__ import annotations

import resource

import pytest
import torch

from viaduct.memory import begin_afresh, peak_bytes
from viaduct.models import numerics
from viaduct.models.numerics import FreedMemory, keep_freed_memory, resident_bytes


def test_large_tensors_made_again_and_again_cost_no_new_pages() -> None:
    if not keep_freed_memory():
        pytest.skip("the C library is not glibc")

    def page_faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(10):
            torch.ones(10_000_000)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    page_faults()
    assert page_faults() < 10_000_000 * 4 / 4096  # one tensor's pages; all ten would be ten times that


def test_holes_between_blocks_go_back_to_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    if not keep_freed_memory():
        pytest.skip("the C library is not glibc")
    monkeypatch.setattr(numerics, "GROWTH_BYTES", 50_000_000)
    freed = FreedMemory()
    for _ in range(numerics.SOON_STEPS):
        freed.bound()
    before = resident_bytes()
    blocks = [torch.ones(250_000) for _ in range(400 + before // 1_000_000)]
    last = blocks[-1]
    grown = resident_bytes()
    del blocks
    freed.bound()
    assert grown - before > 350_000_000
    assert resident_bytes() - before < 0.2 * (grown - before), "the block that is left holds the heap's end"
    assert last.sum() == 250_000


def test_what_every_step_needs_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Returning it would make the system zero its pages again in every step."""
    if not keep_freed_memory():
        pytest.skip("the C library is not glibc")
    monkeypatch.setattr(numerics, "GROWTH_BYTES", 50_000_000)
    freed, returned = FreedMemory(), []
    monkeypatch.setattr(freed, "_trim", returned.append)
    for _ in range(10):
        blocks = [torch.ones(250_000) for _ in range(300)]
        del blocks
        freed.bound()
    assert returned == []


def test_a_stage_begins_without_the_memory_of_the_one_before() -> None:
    if not keep_freed_memory():
        pytest.skip("the C library is not glibc")
    blocks = [torch.ones(5_000_000) for _ in range(10)]
    kept = torch.ones(10)  # pins the end of the heap
    held = resident_bytes()
    assert peak_bytes() >= held - 10**7
    del blocks
    assert resident_bytes() > held - 10**8, "freed memory is kept for the next step"
    begin_afresh()
    assert resident_bytes() < held - 1.5e8
    assert peak_bytes() < held - 1.5e8
    assert kept.sum() == 10
