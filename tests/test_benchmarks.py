"""The benchmarks run end to end at a tiny size and print what they promise; speed is not checked here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from programs import run_script
from simulated_device import Simulated, simulated

from viaduct.serving import machine

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
WORKS = ("pairs", "windows", "tagging")
VARIANTS = ("trainer_default", "dynamic_padding", "length_grouped")


@pytest.fixture(scope="module", autouse=True)
def small_products() -> Iterator[None]:
    """Uses small matrices for the machine's matrix-product rate, which is taken alongside every measurement."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "PRODUCT", 256)
        yield


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    options = ["--shapes", "2x32", "--repetitions", "1", "--same-process"]
    done = run_script(BENCHMARKS / "training.py", *options)
    assert done.status == 0, done.errors
    lines = done.output.splitlines()
    assert any(line.startswith("Viaduct ") for line in lines)
    last: dict[str, Any] = json.loads(lines[-1])
    return last


def test_the_last_line_has_a_ratio_and_samples_for_every_kind_of_work_and_variant(report: dict[str, Any]) -> None:
    assert set(report["ratios"]) == {f"{work}_2x32/{variant}" for work in WORKS for variant in VARIANTS}
    for place in report["ratios"]:
        theirs = report["samples"][place]
        ours = report["samples"][f"{place.split('/')[0]}/viaduct"]
        assert report["ratios"][place] == pytest.approx(ours[0] / theirs[0])
    assert report["threads"] == 1 and report["versions"]["torch"] and report["device"]
    assert all(0 < share < 1 for shares in report["products"].values() for share in shares)


@pytest.mark.parametrize(("work", "rows"), [("pairs", 32), ("windows", 8), ("tagging", 32)])
def test_all_variants_are_timed_for_the_same_steps_with_their_own_padding(
    report: dict[str, Any], work: str, rows: int
) -> None:
    steps = {variant: report["steps"][f"{work}_2x32/{variant}"] for variant in (*VARIANTS, "viaduct")}
    assert steps.pop("trainer_default") == 1  # every one of its steps costs the same
    assert set(steps.values()) == {2}
    assert [report["rows"][f"{work}_2x32/{variant}"] for variant in VARIANTS] == [rows, 2 * rows, 2 * rows]
    padding = {variant: report["padding"][f"{work}_2x32/{variant}"] for variant in (*VARIANTS, "viaduct")}
    assert padding["trainer_default"] > padding["dynamic_padding"] > padding["viaduct"] > 0
    assert report["embedding_rows"][f"{work}_2x32/viaduct"] < report["embedding_rows"][f"{work}_2x32/dynamic_padding"]


@pytest.mark.parametrize("name", WORKS)
def test_rows_have_the_lengths_that_are_stated_and_a_realistic_share_of_the_vocabulary(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import training_rows

    shape, work = training_rows.SHAPES["6x384"], training_rows.WORKS[name]
    rows = training_rows.make_rows(shape, seed=1, work=work)
    assert len(rows.ids) == round(15_000 * work.share)
    assert rows.lengths.mean() == pytest.approx(work.mean, rel=0.03)  # clipping takes a little
    assert work.shortest <= rows.lengths.min() and rows.lengths.max() == work.longest
    distinct = np.unique(np.concatenate(rows.ids))
    assert 15_000 < len(distinct) < 30_000 and distinct.max() < 250_002
    again = training_rows.make_rows(shape, seed=1, work=work)
    assert all(np.array_equal(one, other) for one, other in zip(rows.ids, again.ids, strict=True))
    assert all(np.array_equal(one, other) for one, other in zip(rows.targets, again.targets, strict=True))


def test_the_trainer_and_we_are_given_the_same_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import training_ours
    import training_rows
    import training_stock

    shape = training_rows.SHAPES["2x32"]
    for work in training_rows.WORKS.values():
        rows = training_rows.make_rows(shape, seed=1, work=work)
        ours = training_ours._encoded(work, rows)
        theirs = [training_stock.Features(work, rows, None)[at] for at in range(len(rows.ids))]
        assert [len(one["input_ids"]) for one in theirs] == ours.lengths.tolist()
        if work.kind == "pair":
            assert [one["labels"] for one in theirs] == ours.fields["label"].tolist()
        elif work.kind == "span":
            assert [one["start_positions"] for one in theirs] == ours.fields["start"].tolist()
            assert [one["end_positions"] for one in theirs] == ours.fields["end"].tolist()
        else:
            tags = [tag for one in theirs for tag in one["labels"] if tag != training_rows.NO_TAG]
            assert tags == ours.fields["tag"].tolist()


def test_a_number_of_steps_that_cannot_be_is_refused() -> None:
    done = run_script(BENCHMARKS / "training.py", "--steps", "0")
    assert done.status == 2 and "1 or more" in done.errors


def test_features_are_compared_and_timed() -> None:
    options = ["--images", "3", "--rows", "40", "--repetitions", "1", "--reads", "2"]
    done = run_script(BENCHMARKS / "features.py", *options)
    assert done.status == 0, done.errors
    lines = done.output.splitlines()
    assert lines[-2].startswith("Viaduct is ")
    last = json.loads(lines[-1])
    assert set(last["ratios"]) == set(last["cpu_ratios"])
    assert set(last["ratios"]) == {"build_vit_4x192/transformers", "read_1024x64x768/safetensors"}
    assert [len(samples) for samples in last["samples"]["read"].values()] == [2, 2]
    assert last["threads"] == 1 and last["versions"]["torch"] and last["device"]


def test_inference_rows_have_exactly_the_tokens_that_were_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import inference_models
    import training_rows

    shape = training_rows.SHAPES["2x32"]
    pairs, tokenizer = inference_models.make_pairs(shape, 1, 150), inference_models.make_tokenizer(shape)
    ids = tokenizer(pairs.first, pairs.second)["input_ids"]
    assert [len(row) for row in ids] == pairs.lengths.tolist()
    assert not any(training_rows.UNKNOWN in row for row in ids)
    assert len(tokenizer) == shape.vocabulary
    assert set(pairs.labels) == {0, 1, 2}


@pytest.mark.slow
def test_the_inference_benchmark_compares_every_engine() -> None:
    pytest.importorskip("openvino", reason="needs the extra: pip install 'viaduct-nlp[engines]'")
    options = ["--shapes", "2x32", "--repetitions", "1", "--same-process", "--train-seconds", "3"]
    done = run_script(BENCHMARKS / "inference.py", *options)
    assert done.status == 0, done.errors
    last = json.loads(done.output.splitlines()[-1])
    expected = {"pipeline", "pipeline_bf16", "pipeline_int8", "naive", "pipeline_p50", "products"}
    assert {f"pairs_2x32/{name}" for name in expected} <= set(last["ratios"])
    best, samples = last["best"]["pairs_2x32"], last["samples"]
    ratio = samples[f"pairs_2x32/{best['int8']}"][0] / samples[f"pairs_2x32/{best['pipeline']}"][0]
    assert last["ratios"]["pairs_2x32/pipeline_int8"] == pytest.approx(ratio)
    assert all(share is None or share > 0.9 for share in last["agreement"].values())
    assert last["padding"] < 0.03 and last["threads"] == 1 and last["device"]
    assert {"torch", "transformers", "onnxruntime", "openvino"} <= set(last["versions"])


def test_scaling_runs_every_stage_at_every_size() -> None:
    done = run_script(BENCHMARKS / "scaling.py", "--quick", "--scale", "0.02", "--same-process")
    assert done.status == 0, done.errors
    last = json.loads(done.output.splitlines()[-1])
    kinds = ("tokenise", "train", "predict", "mine")
    assert set(last["samples"]) == {f"{kind}/{scale}" for kind in kinds for scale in (1, 4, 16)}
    for kind in kinds:
        growth = last["cpu_samples"][f"{kind}/16"][0] / last["cpu_samples"][f"{kind}/4"][0]
        assert last["ratios"][f"{kind}/cpu_seconds_16x_over_4x"] == pytest.approx(growth)
        assert last["rows"][f"{kind}/16"] == pytest.approx(16 * last["rows"][f"{kind}/1"], rel=0.1)
    assert all(one > 0 for one in last["peak_mib"].values())


@pytest.mark.slow
def test_memory_is_forecast_within_a_quarter_of_what_a_process_holds() -> None:
    cases = ("2x64/train", "2x64/predict", "2x64/joint")
    done = run_script(BENCHMARKS / "memory.py", "--cases", *cases)
    assert done.status == 0, done.errors
    ratios = json.loads(done.output.splitlines()[-1])["ratios"]
    assert set(ratios) == set(cases) and all(0.75 < ratio < 1.25 for ratio in ratios.values()), ratios


def test_scheduling_times_a_run_whose_stages_do_nothing() -> None:
    done = run_script(BENCHMARKS / "scheduling.py", "--stages", "40", "80")
    assert done.status == 0, done.errors
    small, large = json.loads(done.output.splitlines()[-1])["runs"]
    assert small["stages"] < large["stages"] and small["rows"] < large["rows"]
    assert all(value > 0 for one in (small, large) for value in one.values())


def test_a_mixture_is_timed_on_the_very_batches_of_its_members() -> None:
    options = ["--shapes", "2x32", "--repetitions", "1", "--same-process"]
    done = run_script(BENCHMARKS / "mixture.py", *options)
    assert done.status == 0, done.errors
    lines = done.output.splitlines()
    assert any(line.startswith("single stages ") for line in lines)
    last = json.loads(lines[-1])
    key, members = "mixture_2x32", ("pairs", "tags", "spans", "choices")
    for ratios, samples in (("ratios", "samples"), ("cpu_ratios", "cpu_samples")):
        for group in ("single_task", "single_task_union"):
            expected = last[samples][f"{key}/mixture"][0] / last[samples][f"{key}/{group}"][0]
            assert last[ratios][f"{key}/{group}"] == pytest.approx(expected)
    (mixed,) = last["steps"][f"{key}/mixture"]
    for member in members:
        (alone,) = last["steps"][f"{key}/{member}"]
        batches = [(step["own"], step["tokens"]) for step in mixed if step["member"] == member]
        assert batches == [(step["own"], step["tokens"]) for step in alone] and len(batches) > 1
    rows = last["embedding_rows"]
    assert {rows[f"{key}/{member}+union"] for member in members} == {rows[f"{key}/mixture"]}
    assert all(rows[f"{key}/{member}"] < rows[f"{key}/mixture"] for member in members)
    timed = sum(step["seconds"] for step in mixed if step["own"])
    assert last["samples"][f"{key}/mixture"][0] == pytest.approx(timed)
    assert last["threads"] == 1 and last["versions"]["torch"] and last["device"]


def scenario(folder: Path, **changed: Any) -> Path:
    tasks = [{"name": "xnli", "languages": ["ar", "de", "en", "zh"], "examples": 300, "parallel": True}]
    plain = {"runs": 12, "seeds": 3, "arms": 2, "tasks": tasks, "sd": {"seed": 0.5, "cell": 0.5}}
    path = folder / "scenario.json"
    path.write_text(json.dumps(plain | changed), encoding="utf-8")
    return path


def test_a_scenario_of_ones_own_gives_the_rates_of_wrong_verdicts(tmp_path: Path) -> None:
    effects = [{"arm": 1, "task": None, "points": 30.0}]
    path = scenario(tmp_path, effects=effects, changed_examples=0.05, margin=0.5)
    done = run_script(BENCHMARKS / "verdicts.py", "--scenario", str(path), "--processes", "1")
    assert done.status == 0, done.errors
    found = json.loads(done.output.splitlines()[-1])
    assert set(found["family_wise_error"]) == {"these", "like_these"}
    assert all(0 <= rate <= 0.5 for steps in found["family_wise_error"].values() for rate in steps.values())
    assert found["runs"] == 12 and 0.7 < found["coverage"] <= 1 and found["wrong_claims"] is None
    assert 0 <= found["wrong_equivalent"] <= 0.5 and 0.3 < found["power_at_detectable"] <= 1


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"sdx": 1}, "sdx"),
        ({"sd": {"seeds": 1.0}}, "seeds"),
        ({"effects": [{"arm": 7, "points": 1.0}]}, "arm 7"),
        ({"tasks": [{"name": "news", "languages": "xtreme", "examples": 9}]}, "news"),
        ({"tasks": [{"name": "xnli", "languages": ["en"], "examples": 9}]}, "English"),
    ],
)
def test_a_scenario_that_cannot_be_drawn_is_refused_in_one_line(
    tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    done = run_script(BENCHMARKS / "verdicts.py", "--scenario", str(scenario(tmp_path, **changed)), "--processes", "1")
    assert done.status != 0 and said in done.errors and "Traceback" not in done.errors


def test_the_library_of_scenarios_can_be_drawn_with_every_number_of_seeds_and_arms(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import verdicts

    cells = verdicts.cells(quick=False)
    assert {(one.seeds, one.arms, one.runs) for one in cells} == {(s, a, 1_000) for s in (3, 5, 9) for a in (3, 9)}
    assert {one.name for one in cells} >= {"null", "languages", "groups", "small_sets"}


def test_worlds_that_break_an_assumption_are_told_apart_from_those_that_keep_it() -> None:
    done = run_script(BENCHMARKS / "assumptions.py", "2")
    assert done.status == 0, done.errors
    found = json.loads(done.output.splitlines()[-1])
    assert found["runs"] == 2 and {one["seeds"] for one in found["cells"]} == {3, 9}
    assert {"one seed is a copy", "nothing fails, rows matter"} < {one["world"] for one in found["cells"]}
    assert all(0 <= one["wrong"] <= 1 and 0 <= one["coverage"] <= 1 for one in found["cells"])


ON_GPU = ("--device", "cuda", "--repetitions", "1", "--same-process", "--quick")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulated]:
    monkeypatch.setattr(machine, "PRODUCT_ON_GPU", 64)
    with simulated(monkeypatch) as device:
        yield device


def last_line(name: str, *options: str) -> dict[str, Any]:
    done = run_script(BENCHMARKS / name, *options)
    assert done.status == 0, done.errors
    found: dict[str, Any] = json.loads(done.output.splitlines()[-1])
    assert found["device"] == "GPU a simulated device, 16 GiB" and found["versions"]["torch"]
    return found


def test_training_on_a_gpu_is_timed_beside_the_trainer_there(gpu: Simulated) -> None:
    sizes = ("--shapes", "2x32", "--works", "pairs", "--scale", "1", "--warm-up", "2", "--steps", "3")
    found = last_line("training.py", *ON_GPU, *sizes)
    assert set(found["ratios"]) == {f"pairs_2x32/{variant}" for variant in VARIANTS[1:]}
    assert set(found["steps"].values()) == {3} and gpu.calls > 1000 and gpu.synchronised > 10
    assert found["format"] == "fp32" and all(one[0] > 0 for one in found["products"].values())


def test_inference_on_a_gpu_is_timed_beside_the_pipeline_there(gpu: Simulated) -> None:
    found = last_line("inference.py", *ON_GPU, "--shapes", "2x32", "--rows", "12")
    assert {"pairs_2x32/pipeline_fp32", "pairs_2x32/products_fp32"} <= set(found["ratios"]) and gpu.calls > 1000
    assert set(found["agreement"].values()) == {1.0}


def test_mining_on_a_gpu_finds_what_plain_products_there_find(gpu: Simulated) -> None:
    found = last_line("mining.py", *ON_GPU, "--sentences", "60", "--width", "16")
    assert set(found["different_neighbours"].values()) == {0.0} and gpu.calls > 100


@pytest.mark.parametrize("objective", ["ar_caption", "contrastive_replay"])
def test_captioning_on_a_gpu_has_the_loss_of_the_plain_loop_there(
    objective: str, gpu: Simulated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import captioning_worker as worker

    worker.prepare("2x32", tmp_path, 1, 1, "cuda")
    ours, theirs = (
        worker.measure(worker.Request(variant, "2x32", objective, str(tmp_path), 2, 200, 1, 1, "cuda"))
        for variant in ("viaduct", "transformers")
    )
    assert ours.loss == pytest.approx(theirs.loss, abs=1e-4) and ours.captions == theirs.captions and gpu.calls > 500


@pytest.mark.slow
def test_the_script_for_a_gpu_leaves_one_file_with_its_parts(tmp_path: Path) -> None:
    command = ["sh", str(BENCHMARKS / "gpu.sh"), "--tiny", "--device", "cpu", "--only", "training"]
    environment = {**os.environ, "OUT": str(tmp_path / "out"), "PYTHON": sys.executable}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(tmp_path / "out" / "gpu.json")
    found = json.loads((tmp_path / "out" / "gpu.json").read_text())
    assert found["size"] == "tiny" and found["devices"] == [found["training"]["device"]] and "mining" not in found
    assert set(found["training"]["ratios"]) == {f"pairs_2x32/{variant}" for variant in VARIANTS}
    wrong = subprocess.run([*command[:2], "--fast"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2 and "unknown option '--fast'" in wrong.stderr


def test_a_script_that_is_stopped_ends_its_benchmark_and_leaves_no_folder(tmp_path: Path) -> None:
    slow = tmp_path / "slow"
    slow.write_text(f'#!/bin/sh\necho $$ > "{tmp_path}/child"\nexec sleep 600\n', encoding="utf-8")
    slow.chmod(0o755)
    environment = {**os.environ, "OUT": str(tmp_path / "out"), "PYTHON": str(slow), "TMPDIR": str(tmp_path)}
    running = subprocess.Popen(["sh", str(BENCHMARKS / "gpu.sh"), "--tiny"], env=environment, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not (tmp_path / "child").is_file() or not (tmp_path / "child").read_text():
        assert time.monotonic() < until
        time.sleep(0.05)
    running.terminate()
    assert running.wait(60) == 143 and not list(tmp_path.glob("tmp.*"))
    child = Path("/proc") / (tmp_path / "child").read_text().strip()
    while child.exists():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_part_that_fails_leaves_the_others_and_says_so(tmp_path: Path) -> None:
    command = ["sh", str(BENCHMARKS / "gpu.sh"), "--tiny", "--device", "cuda", "--only", "training"]  # there is no GPU
    environment = {**os.environ, "OUT": str(tmp_path), "PYTHON": sys.executable, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "training did not end well" in done.stderr
    assert json.loads((tmp_path / "gpu.json").read_text()) == {"size": "tiny", "devices": []}
