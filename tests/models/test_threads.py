"""The number of threads comes from a measurement, and a stage keeps the one that it began with."""

from __future__ import annotations

from pathlib import Path

import pytest

from viaduct.errors import StoreError
from viaduct.models.threads import fastest
from viaduct.runs.host import noted_threads


@pytest.mark.parametrize(("most", "tried"), [(1, (1,)), (2, (1, 2)), (6, (1, 2, 4, 6)), (16, (1, 2, 4, 8, 16))])
def test_threads_that_are_tried(most: int, tried: tuple[int, ...]) -> None:
    asked: list[int] = []
    fastest(most, lambda count: asked.append(count) or 1.0)  # type: ignore[func-returns-value]
    assert tuple(dict.fromkeys(asked)) == tried


@pytest.mark.parametrize(
    ("seconds", "best"),
    [
        ({1: 4.0, 2: 2.1, 4: 1.2, 8: 0.7}, 8),  # an idle machine
        ({1: 1.0, 2: 4.0, 4: 9.0, 8: 20.0}, 1),  # another program keeps the other cores busy
        ({1: 4.0, 2: 2.0, 4: 1.96, 8: 1.95}, 2),  # two share one unit: the gain is just noise
        ({1: 4.0, 2: 5.0, 4: 2.0, 8: 3.0}, 4),
    ],
)
def test_the_fewest_threads_that_no_more_are_worth_it_beside(seconds: dict[int, float], best: int) -> None:
    assert fastest(8, seconds.__getitem__) == best


def test_a_disturbance_now_and_then_does_not_decide() -> None:
    disturbed = iter(range(100))
    assert fastest(2, lambda count: 1.0 / count + 9.0 * (next(disturbed) % 5 == 1)) == 2


def test_a_real_step_is_measured() -> None:
    assert fastest(2) in (1, 2)


@pytest.mark.parametrize("left", [b"", b"\xff\x00", b"two"])
def test_a_damaged_note_of_the_threads_names_the_way(tmp_path: Path, left: bytes) -> None:
    noted = tmp_path / "threads"
    noted.write_bytes(b"2\n")
    assert noted_threads(noted) == 2
    noted.write_bytes(left)
    with pytest.raises(StoreError, match=r"threads is damaged(.|\n)*--threads N"):
        noted_threads(noted)
