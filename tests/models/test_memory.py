"""Memory that a step frees is used again by the next one."""

from __future__ import annotations

import resource

import pytest
import torch

from viaduct.models.numerics import keep_freed_memory


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
