"""Checkpoints survive disk damage: a damaged one is noticed and removed, and the one before it is used."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from viaduct.errors import StoreError
from viaduct.training import state as checkpointing
from viaduct.training.state import TrainingState, checkpoints, load_best, resume, save_best, save_checkpoint


def trained(scratch: Path, *steps: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A model with a checkpoint at each step; the weights are the step's number, and each is the best so far."""
    model, state = nn.Linear(2, 1), TrainingState()
    optimizer = torch.optim.AdamW(model.parameters())
    for step in steps:
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        with torch.no_grad():
            model.weight.fill_(float(step))
        state.step = step
        save_best(scratch, model, state)
        save_checkpoint(scratch, model, optimizer, state)
    return model, optimizer


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def test_the_newest_checkpoint_and_one_older_are_kept_with_their_best_weights(tmp_path: Path) -> None:
    model, optimizer = trained(tmp_path, 3, 6, 9)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [
        *("best-00000006.safetensors", "best-00000009.safetensors", "checkpoint-00000006", "checkpoint-00000009"),
    ]
    found = resume(tmp_path, model, optimizer)
    assert (found.step, found.best_step, model.weight.tolist()) == (9, 9, [[9.0, 9.0]])


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json", "SHA256SUMS", "best"])
@pytest.mark.parametrize("damage", ["a bit", "cut off", "gone"])
def test_a_damaged_checkpoint_falls_back_to_the_older_one_and_says_so(
    tmp_path: Path, name: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    if (name, damage) == ("SHA256SUMS", "gone"):
        pytest.skip("a checkpoint without checksums is one of an earlier version")
    model, optimizer = trained(tmp_path, 3, 6)
    newest = checkpoints(tmp_path)[-1]
    path = tmp_path / "best-00000006.safetensors" if name == "best" else newest / name
    if damage == "a bit":
        flip(path)
    elif damage == "cut off":
        path.write_bytes(path.read_bytes()[:-9])
    else:
        path.unlink()
    found = resume(tmp_path, model, optimizer)
    assert (found.step, found.best_step, model.weight.tolist()) == (3, 3, [[3.0, 3.0]])
    assert "checkpoint-00000006 is damaged and removed" in caplog.text and not newest.exists()
    load_best(tmp_path, model, found)


def test_where_all_are_damaged_the_training_begins_again(tmp_path: Path) -> None:
    model, optimizer = trained(tmp_path, 3, 6)
    for place in checkpoints(tmp_path):
        flip(place / "model.safetensors")
    assert resume(tmp_path, model, optimizer) == TrainingState() and not checkpoints(tmp_path)


def test_best_weights_that_were_damaged_meanwhile_are_not_taken(tmp_path: Path) -> None:
    model, optimizer = trained(tmp_path, 3)
    found = resume(tmp_path, model, optimizer)
    flip(tmp_path / "best-00000003.safetensors")
    with pytest.raises(StoreError, match=r"best-00000003.safetensors is damaged(.|\n)*run again"):
        load_best(tmp_path, model, found)


def test_checkpoints_of_before_checksums_are_taken(tmp_path: Path) -> None:
    model, optimizer = trained(tmp_path, 3)
    (checkpoints(tmp_path)[0] / "SHA256SUMS").unlink()
    state = checkpoints(tmp_path)[0] / "state.json"
    text = state.read_text()
    state.write_text(text.replace(f', "best_sha256": "{checkpointing._read_state(state.parent).best_sha256}"', ""))
    assert "best_sha256" not in state.read_text()
    assert resume(tmp_path, model, optimizer).step == 3


def test_a_checkpoint_is_on_the_disk_before_it_takes_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut right after the rename leaves the whole checkpoint: everything in it was flushed before."""
    flushed: list[str] = []
    from viaduct.results import checksums

    flush = checksums.flush
    monkeypatch.setattr(checksums, "flush", lambda path: (flushed.append(path.name), flush(path))[1])
    replace = checkpointing.os.replace

    def moved(source: Path, place: Path) -> None:
        if Path(place).name.startswith("checkpoint"):
            assert {path.name for path in Path(source).iterdir()} <= {*flushed} and "unfinished" in flushed
        replace(source, place)

    monkeypatch.setattr(checkpointing.os, "replace", moved)
    trained(tmp_path, 3)
    assert checkpoints(tmp_path)
