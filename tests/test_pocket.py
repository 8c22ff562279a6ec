"""A recipe packed for a machine without a network and run there: the same rows, the same weights, in time."""

from __future__ import annotations

import importlib
import json
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from viaduct.miniature import world
from viaduct.runs.committed import load_rows

POCKET = Path(__file__).parents[1] / "pocket"

RECIPE = """
name: pocketed
hypothesis: none
encoder: folder
targets:
  - {task: tatoeba, languages: [de, fr], retrieval: {layers: [1]}}
  - {task: xnli, languages: [en, de], training: {max_steps: STEPS, epochs: 10000.0, evaluations: 1, dev_rows: 20}}
seeds: [1]
measure: null
"""


@pytest.fixture(scope="module")
def pocket() -> dict[str, Any]:
    sys.path.insert(0, str(POCKET))
    try:
        return {name: importlib.import_module(name) for name in ("blocks", "pack", "run")}
    finally:
        sys.path.remove(str(POCKET))


@given(
    numbers=st.lists(st.integers(-8, 7), min_size=64, max_size=64),
    scales=st.lists(st.floats(2**-10, 2.0, width=16), min_size=2, max_size=2),
    signs=st.lists(st.sampled_from([-1, 1]), min_size=2, max_size=2),
    half=st.booleans(),
)
def test_blocks_of_four_bits_come_back_exactly(
    pocket: dict[str, Any], numbers: list[int], scales: list[float], signs: list[int], half: bool
) -> None:
    scale = (np.array(scales) * signs).astype(np.float16).astype(np.float32)
    values = np.array(numbers, np.float32).reshape(2, 32) * scale[:, None]
    values = values.astype(np.float16 if half else np.float32)
    parts = pocket["blocks"].in_blocks(values)
    assert parts is not None and sum(one.nbytes for one in parts.values()) < 40
    found = pocket["blocks"]._whole({**parts, "shape": np.array(values.shape)})
    assert np.array_equal(found, values.astype(np.float32))


def test_other_weights_are_rounded_by_row_or_kept(pocket: dict[str, Any], tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    whole = {
        "large": (random.normal(size=(600, 512)) * np.logspace(-3, 1, 600)[:, None]).astype(np.float32),
        "small": random.normal(size=(10, 96)).astype(np.float16),
        "bias": random.normal(size=7).astype(np.float32),
    }
    save_file(whole, tmp_path / "whole")
    assert pocket["blocks"].pack(tmp_path / "whole", tmp_path / "packed") == {
        "exact": 0,
        "rounded": 307_200,
        "whole": 967,
    }
    pocket["blocks"].unpack(tmp_path / "packed", tmp_path / "again")
    found = load_file(tmp_path / "again")
    for name in ("small", "bias"):
        assert np.array_equal(found[name], whole[name].astype(np.float32))
    step = np.abs(whole["large"]).max(axis=1, keepdims=True) / 127
    assert (np.abs(found["large"] - whole["large"]) <= step * 0.501).all()
    assert (tmp_path / "packed").stat().st_size < 0.3 * (tmp_path / "whole").stat().st_size


@pytest.fixture(scope="module")
def packed(pocket: dict[str, Any], tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the parcels short.zip and long.zip."""
    place = tmp_path_factory.mktemp("parcels")
    world.write(place / "data", scale=0.05)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pocket["pack"], "_packages", lambda folder, names: None)  # these would be built and fetched
        for name, steps in (("short", 2), ("long", 100_000)):
            (place / f"{name}.yaml").write_text(RECIPE.replace("STEPS", str(steps)), encoding="utf-8")
            asked = [str(place / f"{name}.yaml"), str(place / f"{name}.zip"), "--data", str(place / "data")]
            patched.setattr(sys, "argv", ["pack.py", *asked, "--encoder", str(tiny_encoder)])
            pocket["pack"].main()
    return place


def run(pocket: dict[str, Any], parcel: Path, out: Path, *options: str) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "argv", ["run.py", str(parcel), str(out), "--processes", "1", "--device", "cpu", *options])
        pocket["run"].main()


def test_a_parcel_holds_what_is_read_and_no_more(packed: Path) -> None:
    with zipfile.ZipFile(packed / "short.zip") as archive:
        names = archive.namelist()
    data = {name.split("/")[1] for name in names if name.startswith("data/")}
    assert "encoders/encoder/model.packed" in names and not any(name.endswith(".safetensors") for name in names)
    assert data and not any("udpos" in name or "panx" in name for name in names)
    assert (packed / "short.zip").stat().st_size < 2**20


def test_a_parcel_that_would_lack_a_language_is_not_made(
    pocket: dict[str, Any], packed: Path, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [str(packed / "short.yaml"), str(tmp_path / "x.zip"), "--data", str(packed / "data"), "--languages", "de"]
    monkeypatch.setattr(sys, "argv", ["pack.py", *asked, "--encoder", str(tiny_encoder)])
    with pytest.raises(SystemExit, match=r"name more --languages:\n  .*tatoeba.*fr"):
        pocket["pack"].main()
    assert not (tmp_path / "x.zip").exists()


def test_a_parcel_is_run_and_its_rows_come_back(
    pocket: dict[str, Any], packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(pocket, packed / "short.zip", tmp_path / "rows", "--minutes", "5", "--work", str(tmp_path / "work"))
    record = load_rows(tmp_path / "rows" / "pocketed")
    assert {cell.task for cell in record.cells} == {"tatoeba", "xnli"}
    assert "the whole recipe is finished" in capsys.readouterr().out
    assert not list((tmp_path / "work" / "store").rglob("train/encoder/*.safetensors"))
    about = json.loads((tmp_path / "work" / "about.json").read_text(encoding="utf-8"))
    assert about["recipe"] == "short.yaml"


@pytest.mark.slow
def test_a_run_that_is_too_long_ends_in_time_with_what_is_done(
    pocket: dict[str, Any], packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    waited: list[float] = []
    wait = pocket["run"].subprocess.Popen.wait

    def until_retrieval_is_done(self: Any, timeout: float | None = None) -> int:
        waited.append(timeout or 0.0)
        while len(waited) == 1 and not list((tmp_path / "work" / "store").glob("encoder/none/*/score")):
            time.sleep(0.1)
        return int(wait(self, 1.0 if len(waited) == 1 else 100.0))

    monkeypatch.setattr(pocket["run"].subprocess.Popen, "wait", until_retrieval_is_done)
    run(pocket, packed / "long.zip", tmp_path / "rows", "--minutes", "1", "--work", str(tmp_path / "work"))
    assert "stopped before it finished (status 143)" in capsys.readouterr().out
    assert 30 < waited[0] <= 40
    assert list((tmp_path / "rows" / "pocketed").glob("*.rows.xz"))
