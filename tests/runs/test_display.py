from __future__ import annotations

import io

import pytest
from rich.console import Console

from viaduct.runs import display
from viaduct.runs.display import BarDisplay, Display, PlainDisplay, in_words, shown


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    moment = [1000.0]
    monkeypatch.setattr(display.time, "monotonic", lambda: moment[0])
    return moment


def test_time_left_follows_the_pace_since_the_first_stage_began(now: list[float]) -> None:
    clock = Display({"a": 10.0, "b": 30.0, "c": 60.0})
    clock.done("a")  # done in an earlier run: no pace yet
    assert (clock.fraction, clock.left()) == (0.1, "time left unknown")
    now[0] += 1000.0  # waiting for others does not count as work
    clock.start("b", resumed=False)
    now[0] += 15.0
    clock.progress(1.0, 2.0, "")
    assert (clock.fraction, clock.left()) == (0.25, "time left unknown")  # too early to tell
    now[0] += 15.0
    clock.done("b")
    assert clock.left() == "about 60 s left"  # a weight of 30 took 30 s, and 60 is left


def test_time_left_of_the_first_stage_counts_neither_loading_nor_what_a_checkpoint_had(now: list[float]) -> None:
    for resumed, counted, after in (
        (False, 10, "about 3 min left"),
        (True, 10, "about 80 s left"),
        (True, 0, "about 80 s left"),
    ):
        clock = Display({"a": 1.0, "b": 1.0})
        clock.start("a", resumed=resumed)
        now[0] += 100.0  # loading
        for done in (0, counted // 2, counted):  # a first phase that counts other things, or says its name only
            clock.progress(done, 10, "pictures")
            now[0] += 10.0
        for done in range(50, 80 + 1):  # one step a second, of 100
            clock.progress(done, 100, "step")
            now[0] += 1.0
        now[0] -= 1.0
        assert clock.left() == "about 2 min left"  # 120 steps are left
        now[0] += 10.0
        clock.done("a")
        assert clock.left() == after  # the whole stage took 170 s, the half after a checkpoint 40 s


def test_time_left_counts_what_other_processes_do_meanwhile(now: list[float]) -> None:
    clock = Display({"a": 25.0, "b": 25.0, "c": 50.0})
    clock.start("a", resumed=False)
    now[0] += 50.0
    clock.done("a")
    assert clock.left() == "about 2 min left"
    clock.done("b")  # by another process, at the same time
    assert clock.left() == "about 50 s left"


def test_plain_lines_come_at_most_every_ten_seconds_while_a_stage_runs(now: list[float]) -> None:
    text = io.StringIO()
    shown = PlainDisplay(Console(file=text, width=40), {"mini/none/a-rather-long-name/seed-1/train": 1.0, "b": 1.0})
    shown.start("mini/none/a-rather-long-name/seed-1/train", resumed=False)
    for second in range(25):
        now[0] += 1.0
        shown.progress(second, 25, f"loss {second}")
    shown.done("mini/none/a-rather-long-name/seed-1/train")
    shown.start("b", resumed=False)
    shown.waiting(["b"])
    shown.waiting(["b"])
    lines = text.getvalue().splitlines()
    assert [line.split(": ")[-1].split(",")[0] for line in lines[:-1]] == [
        "started",
        "36% loss 9",
        "76% loss 19",
        "done in 25 s",
    ]
    assert lines[-1] == "[1/2] waiting for another process, which is working on b"


def test_bars_show_stages_notes_and_messages() -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=150)
    with shown(console, {"a/train": 1.0, "b": 1.0}) as display:
        assert isinstance(display, BarDisplay)
        display.start("a/train", resumed=True)
        display.progress(1.0, 2.0, "loss 0.5 [step 3]")
        display.message("a moment [red]please")
        display.bars.refresh()
        display.done("a/train")
    for words in ("0/2 stages", "1/2 stages", "a/train", "50 %", "loss 0.5 [step 3]", "a moment [red]please"):
        assert words in text.getvalue()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (89, "89 s"), (600, "10 min"), (5399, "90 min"), (12000, "3 h 20 min"), (432_000, "5 days")],
)
def test_durations_are_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
