"""A quick form of `tests/campaign.py`, checks of its outcomes, and (slow) the whole campaign."""

from __future__ import annotations

import pytest
from campaign import REASONS, run
from damage import DAMAGES


@pytest.mark.parametrize("seed", [1])
def test_damaged_files_of_every_reader_are_refused_or_change_nothing_else(seed: int) -> None:
    found = run(300, seed)
    faults = {key: words for key, words in found.items() if key[0] == "fault"}
    assert faults == {}
    counts = {said: sum(len(words) for key, words in found.items() if key[0] == said) for said, _, _ in found}
    assert counts["refused"] > 150 and counts["changed"] < 100


def test_every_reason_is_of_a_damage() -> None:
    assert REASONS.keys() <= DAMAGES.keys()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
def test_the_whole_campaign(seed: int) -> None:
    assert {key: words for key, words in run(1000, seed).items() if key[0] == "fault"} == {}
