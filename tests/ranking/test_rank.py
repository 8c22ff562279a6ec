"""`viaduct rank`: tasks ordered by similarity, encoders by LogME, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import small_world
from programs import viaduct
from simulated_device import simulated


def lines(output: str) -> list[list[str]]:
    """The cells of the table below its header."""
    return [line.split() for line in output.split("\n\n")[0].splitlines()[1:]]


def test_the_most_alike_task_is_first(world: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fruit = next(card for card in small_world.CARDS if card.name == "fruit")
    small_world.add_cards(monkeypatch.setattr, [replace(fruit, name="copy", trained_on="copy")])
    done = viaduct("rank", str(tiny_encoder), "--target", "berry", "--data", str(world), "--rows", "20")
    assert done.status == 0, done.errors
    assert done.output.startswith("for berry      rows  likeness\n") and "not a result" in done.output
    found = lines(done.output)
    assert [one[0] for one in found] == ["copy", "quiz"] and found[0][1:] == ["20", "train", "1.0000"]
    assert 0 < float(found[1][3]) < 1
    (world / "quiz" / "train-en.tsv").unlink()
    again = viaduct("rank", str(tiny_encoder), "--target", "berry", "--data", str(world), "--tasks", "quiz")
    assert lines(again.output)[0][:3] == ["quiz", "40", "dev"]


def test_a_gpu_that_is_there_computes_the_vectors(
    world: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("rank", str(tiny_encoder), "--target", "berry", "--data", str(world), "--rows", "20")
    expected = viaduct(*command).output
    with simulated(monkeypatch) as device:
        done = viaduct(*command)
    assert done.status == 0 and done.output == expected and device.calls > 50, done.errors


def test_several_encoders_are_ordered_by_logme(world: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    trained = tmp_path / "train"
    trained.mkdir()
    (trained / "encoder").symlink_to(tiny_encoder)
    models = (str(tiny_encoder), str(trained))
    done = viaduct("rank", *models, "--target", "berry", "--data", str(world))
    assert done.status == 0 and "LogME" in done.output, done.errors
    (one, other) = lines(done.output)
    assert one[3] == other[3] and float(one[3]) < 0, "the same encoder has the same evidence"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("ENCODER", "--target", "twins"), "twins has no training data"),
        (("ENCODER", "--target", "bery"), "Did you mean 'berry'"),
        (("ENCODER", "ENCODER", "--target", "quiz"), "rows of quiz have no single label"),
        (("ENCODER", "ENCODER", "--target", "berry", "--tasks", "quiz"), "several models are ranked themselves"),
        (("./nowhere", "--target", "berry"), "the folder ./nowhere does not exist"),
    ],
)
def test_what_cannot_be_ordered_is_explained(
    arguments: tuple[str, ...], words: str, world: Path, tiny_encoder: Path
) -> None:
    given = [str(tiny_encoder) if one == "ENCODER" else one for one in arguments]
    done = viaduct("rank", *given, "--data", str(world))
    assert done.status == 2 and words in done.errors and "Traceback" not in done.errors
