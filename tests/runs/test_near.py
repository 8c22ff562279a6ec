"""Near-duplicate texts, checked against a count of all shared runs of characters."""

from __future__ import annotations

import random

import numpy as np
import pytest

from viaduct.runs import near
from viaduct.runs.near import COMMON, RUN, SHARE, Index, Sketches

WORDS = (
    "river",
    "tea",
    "wanted",
    "tomorrow",
    "stone",
    "perhaps",
    "letters",
    "green",
    "ferry",
    "counting",
    "wind",
    "of",
)


def text(seed: int, count: int = 60) -> str:
    return "".join(random.Random(seed).choices(WORDS, k=count))


def share(one: str, other: str) -> float:
    """The share of common runs among those of the text with fewer runs, with all runs counted."""
    first, second = ({text[at : at + RUN] for at in range(len(text) - RUN + 1)} for text in (one, other))
    return len(first & second) / min(len(first), len(second))


def test_edited_texts_are_found_and_others_are_not() -> None:
    trained = [text(seed) for seed in range(40)]
    edited = trained[3][:100] + "something" + trained[3][100:]
    within = trained[7][20:200]
    half = trained[11][:150] + text(99)
    others = [edited, within, half, text(100), "tea", ""]
    assert share(edited, trained[3]) > SHARE and share(half, trained[11]) < SHARE
    assert Index(Sketches.of(trained)).nearly(Sketches.of(others)).tolist() == [True, True, False, False, False, False]


def test_every_run_kept_gives_the_counted_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near, "KEPT", 1)
    trained = [text(seed, 25) for seed in range(20)]
    others = [one[:at] + "x" * 3 + one[at:] for one in trained for at in (0, 20, 60)]
    others += [one[: 10 * seed] + text(200 + seed, 5) for seed, one in enumerate(trained)]
    found = Index(Sketches.of(trained)).nearly(Sketches.of(others))
    assert found.tolist() == [any(share(one, other) >= SHARE for other in trained) for one in others]
    assert 0 < found.sum() < len(others)


def test_what_many_texts_share_says_nothing() -> None:
    frame = text(1, 30)
    trained = [frame + text(seed, 4) for seed in range(2, COMMON + 10)]
    assert not Index(Sketches.of(trained)).nearly(Sketches.of([frame])).any()
    assert Index(Sketches.of(trained[:5])).nearly(Sketches.of([frame])).all()


def test_no_texts_and_other_scripts() -> None:
    assert Index(Sketches.of([])).nearly(Sketches.of(["", text(1)])).tolist() == [False, False]
    chinese = "".join(map(chr, range(0x4E00, 0x4E00 + 90)))
    emoji = chinese.replace(chr(0x4E10), chr(0x1F600))
    assert Index(Sketches.of([chinese])).nearly(Sketches.of([emoji, chinese[::-1]])).tolist() == [True, False]


def test_the_order_and_number_of_texts_do_not_matter() -> None:
    trained = [text(seed) for seed in range(30)]
    others = Sketches.of([one[:90] + "moss" + one[90:] for one in trained] * 90)
    found = Index(Sketches.of(trained[::-1])).nearly(others)
    assert found.all() and np.array_equal(found, Index(Sketches.of(trained * 3)).nearly(others))
