"""A profile has the architecture's numbers, the measured times and the conditions; unlike ones are not compared."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from json_keys import require_documented
from programs import viaduct
from simulated_device import simulated
from small_world import add_cards

from viaduct.encode.cache import read_tokens, write_tokens
from viaduct.encode.tokens import Limits
from viaduct.errors import UsageError
from viaduct.heads.head import build_head, head_spec, save_head
from viaduct.models.encoder import forward_flops, load_encoder
from viaduct.serving import machine, samples, timing
from viaduct.serving.commands import cost_words, profile_words
from viaduct.serving.comparison import CONDITIONS, require_comparable
from viaduct.serving.engines import require_engine
from viaduct.serving.export import ExportSettings, export
from viaduct.serving.model import open_model, skeleton
from viaduct.serving.profile import cost, parameters, profiles, weight_bytes
from viaduct.serving.samples import workload
from viaduct.serving.timing import BUDGETS
from viaduct.tasks.card import Source


@pytest.fixture(scope="module")
def stage(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("measured") / "train"
    folder.mkdir()
    (folder / "encoder").symlink_to(tiny_encoder)
    spec = head_spec(tiny.CARDS["pair"])
    save_head(build_head(spec, 32, 0.0), spec, folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "text").mkdir()
    for code in ("en", "zh"):
        (folder / "text" / f"{code}.txt.gz").write_text("".join(f"{text}\n" for text in tiny.sentences(code)))
    return folder


@pytest.fixture(scope="module")
def found(stage: Path, data: Path, made_once: Any) -> dict[str, Any]:
    """The profile that `viaduct profile --json` prints."""

    def make(folder: Path) -> None:
        folder.mkdir()
        done = viaduct("profile", str(stage), "--rows", "20", "--data", str(data), "--json")
        assert done.status == 0 and done.errors.startswith("from the architecture"), done.errors
        (folder / "printed.json").write_text(done.output, encoding="utf-8")

    printed = json.loads((made_once("profile", make) / "printed.json").read_text(encoding="utf-8"))
    require_documented("profile", printed)
    return dict(printed["profiles"][0])


def in_words(monkeypatch: pytest.MonkeyPatch, found: list[dict[str, Any]], *models: str) -> str:
    """The command's output without `--json`, for these profiles."""

    def profiles(*_: object, announce: Callable[[Any], None], **__: object) -> list[dict[str, Any]]:
        for one in found:
            announce(one["cost"])
        return found

    monkeypatch.setattr("viaduct.serving.profile.profiles", profiles)
    return viaduct("profile", *models).output


def test_the_architectures_numbers_are_those_of_the_model_itself(stage: Path, data: Path) -> None:
    model, trained = skeleton(stage), open_model(stage)
    assert all(parameter.is_meta for parameter in model.parameters())
    counted = parameters(model)
    assert counted["total"] == sum(parameter.numel() for parameter in trained.model.parameters())
    assert counted["token_embedding"] == 32 * len(trained.tokenizer)
    assert counted["rest"] == counted["total"] - counted["token_embedding"]
    work = workload(trained.tokenizer, None, Limits(64), samples.with_builtin_cards(data), 24)
    implied = cost(model, work, "fp32", 1e9)
    lengths = {
        code: [len(ids) for ids in trained.tokenizer(tiny.sentences(code))["input_ids"]] for code in ("en", "zh")
    }
    assert implied["tokens_per_sentence"] == pytest.approx(np.mean([*lengths["en"], *lengths["zh"]]))
    encoder = load_encoder(str(stage / "encoder"), None)
    for code, sizes in lengths.items():
        flops = forward_flops(encoder, sum(sizes), sum(size**2 for size in sizes)) / len(sizes)
        one = implied["by_language"][code]
        assert one["sentences"] == 12 and one["flops_per_sentence"] == pytest.approx(flops)
        assert one["most_sentences_per_second"] == pytest.approx(1e9 / flops)


def test_bytes_in_each_precision_by_hand(stage: Path) -> None:
    model = skeleton(stage)
    counted = parameters(model)
    assert weight_bytes(model, "fp32") == 4 * counted["total"] == implied_bytes(stage)
    assert weight_bytes(model, "bf16") == 2 * counted["total"]
    linear = 2 * (4 * 32 * 32 + 2 * 32 * 64) + 32 * 32 + 2 * 32
    outputs = 2 * (4 * 32 + 64 + 32) + 32 + 2
    pieces = counted["token_embedding"] // 32
    other = counted["total"] - linear - counted["token_embedding"]
    expected = linear + 4 * outputs + counted["token_embedding"] + 4 * pieces + 4 * other
    assert weight_bytes(model, "int8") == expected


def implied_bytes(stage: Path) -> int:
    return sum(4 * parameter.numel() for parameter in open_model(stage).model.parameters())


def test_a_profile_holds_every_sample(found: dict[str, Any]) -> None:
    samples = found["samples"]["latency_ms"]
    assert len(samples) == found["latency_ms"]["n"] == 20
    assert found["latency_ms"]["p50"] == pytest.approx(np.median(samples))
    assert found["latency_ms"]["p50"] <= found["latency_ms"]["p95"] <= found["latency_ms"]["p99"] <= max(samples)
    fastest = min(sum(one["seconds"]) for one in found["samples"]["throughput"])
    assert found["throughput"]["examples_per_second"] == pytest.approx(20 / fastest)
    assert [one["batch_tokens"] for one in found["samples"]["throughput"]] == list(BUDGETS)
    peak = found["peak_bytes"]
    assert 0 < peak["before_loading"] <= peak["after_loading"] <= peak["in_all"]
    assert found["load_seconds"] > 0 and found["disk_bytes"] > found["cost"]["weight_bytes"]
    assert 0 < found["throughput"]["share_of_product_rate"] < 1
    assert found["conditions"]["rows"] == "20 examples: text train, 2 languages"
    assert set(CONDITIONS) <= found["conditions"].keys()
    assert found["versions"]["torch"]


def test_rows_are_the_targets_then_text_then_made_up(
    stage: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = open_model(stage).tokenizer
    source = Source("official", {"rows": "pairs.txt"}, lambda *_: tiny.rows("pair", 40), {"test": "test"})
    card = replace(
        tiny.CARDS["pair"], name="tiny-target", trained_on="tiny-pair", sources=(source,), languages=("en", "de")
    )
    add_cards(monkeypatch.setattr, [card])
    (tmp_path / "pairs.txt").write_text("made\n")
    limits = Limits(64)
    for folder, name in ((tmp_path, "tiny-target test, 2 languages"), (data, "text train, 2 languages")):
        assert workload(words, "tiny-pair", limits, samples.with_builtin_cards(folder), 10).name == name
    made = workload(words, None, limits, None, 500)
    assert made.name.startswith("made-up rows") and set(made.languages) == {""}
    assert made.lengths.mean() == pytest.approx(36, abs=2) and made.lengths.max() == 64
    assert made.digest == workload(words, None, limits, None, 500).digest
    assert made.digest != workload(words, None, Limits(32), None, 500).digest
    with pytest.raises(UsageError, match="nothing to measure"):
        workload(words, None, limits, None, 0)


def test_saved_rows_are_read_back(stage: Path, tmp_path: Path) -> None:
    encoded = workload(open_model(stage).tokenizer, None, Limits(64), None, 7).encoded
    write_tokens(replace(encoded, fields={"types": np.arange(len(encoded.ids))}), tmp_path / "rows")
    again = read_tokens(tmp_path / "rows")
    for name in ("ids", "offsets", "groups", "rows"):
        assert np.array_equal(getattr(again, name), getattr(encoded, name))
    assert np.array_equal(again.fields["types"], np.arange(len(encoded.ids)))


def test_an_exported_model_is_measured_as_it_is_and_compares_with_its_source(
    found: dict[str, Any], stage: Path, data: Path, tmp_path: Path
) -> None:
    pytest.importorskip("openvino", reason="needs the extra: pip install 'viaduct-nlp[engines]'")
    export(stage, tmp_path / "made", ExportSettings("openvino", languages=("en", "zh")), data)
    (other,) = profiles([tmp_path / "made"], data=data, rows=20)
    assert (other["engine"], other["precision"]) == ("openvino", "fp32")
    assert json.loads(json.dumps(other)) == other, "a profile is plain values"
    assert other["cost"]["parameters"]["token_embedding"] < found["cost"]["parameters"]["token_embedding"]
    require_comparable(found, other)
    with pytest.raises(UsageError, match="was exported for openvino in fp32"):
        profiles([tmp_path / "made"], "onnx", data=data)


def test_several_models_stand_side_by_side(
    stage: Path, data: Path, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trained stage, and a Hub name whose files are in the Hub's local cache."""
    commit = "a" * 40
    cached = tmp_path / "hub" / "models--us--tiny" / "snapshots" / commit
    cached.parent.mkdir(parents=True)
    cached.symlink_to(tiny_encoder)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    models = [str(stage), f"us/tiny@{commit}"]
    done = viaduct("profile", *models, "--rows", "20", "--data", str(data), "--json")
    assert done.status == 0 and done.errors.count("from the architecture") == 2, done.errors
    kept = json.loads(done.output)["profiles"]
    assert [one["called"] for one in kept] == models
    rows = {one["conditions"]["rows_digest"] for one in kept}
    assert len(rows) == 1, "all are measured on the same rows"
    table = in_words(monkeypatch, kept, *models).partition("side by side\n\n")[2].splitlines()
    assert [line.split()[0] for line in table] == ["model", *models]
    for line, one in zip(table[1:], kept, strict=True):
        assert f"{one['latency_ms']['p50']:.2f}" in line.split()


@pytest.mark.parametrize(
    ("model", "words"),
    [("./nowhere", "./nowhere does not exist"), ("us/tiny", "without a commit")],
)
def test_a_model_that_cannot_be_found_is_explained(model: str, words: str) -> None:
    done = viaduct("profile", model)
    assert done.status == 2 and words in done.errors


def test_unlike_profiles_are_not_compared_without_saying_so(found: dict[str, Any]) -> None:
    other = copy.deepcopy(found)
    require_comparable(found, other)
    other["conditions"]["threads"] = 2
    other["versions"]["numpy"] = "1.0"
    with pytest.raises(
        UsageError, match=r"different conditions:\n  - threads: 1 against 2\n  - versions: numpy"
    ) as refused:
        require_comparable(found, other)
    assert "accept" not in str(refused.value), "a report can only refuse to compare them"


def test_energy_is_counted_over_the_counters_end_and_never_guessed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "ENERGY", tmp_path)
    assert machine.energy() is None
    for name, now in (("intel-rapl:0", 9_000_000), ("intel-rapl:0:1", 5), ("intel-rapl:1", 1_000_000)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "energy_uj").write_text(f"{now}\n")
        (tmp_path / name / "max_energy_range_uj").write_text("10000000\n")
    before = machine.energy()
    assert before is not None and set(before) == {"intel-rapl:0", "intel-rapl:1"}
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("2000000\n")
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("1500000\n")
    assert machine.joules_between(before, machine.energy()) == pytest.approx(3.0 + 0.5)
    (tmp_path / "intel-rapl:1" / "energy_uj").unlink()
    assert machine.energy() is None and machine.joules_between(before, None) is None


def test_the_command_prints_the_architecture_before_the_clock(
    found: dict[str, Any], stage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = in_words(monkeypatch, [found], str(stage))
    assert output.index("from the architecture") < output.index("measured\n")
    assert "20 examples: text train, 2 languages" in output and "layers x width" in output


class Counter:
    """Stands in for pynvml: a GPU that has used one more joule at each reading."""

    def __init__(self) -> None:
        self.millijoules = 5_000

    def nvmlInit(self) -> None: ...

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes) -> bytes:
        assert uuid == b"GPU-0-1"
        return uuid

    def nvmlDeviceGetTotalEnergyConsumption(self, _handle: bytes) -> int:
        self.millijoules += 1_000
        return self.millijoules


@pytest.fixture
def on_gpu(stage: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """A function that measures the stage on a simulated GPU, in this process."""

    def measured(**settings: Any) -> dict[str, Any]:
        monkeypatch.setattr(machine, "PRODUCT_ON_GPU", 64)
        monkeypatch.setattr("viaduct.serving.profile.results", lambda jobs, _: (job.run() for job in jobs))
        with simulated(monkeypatch) as device:
            (found,) = profiles([stage], rows=20, data=data, device="cuda", **settings)
        timed = len(found["samples"]["latency_ms"]) + sum(len(one["seconds"]) for one in found["samples"]["throughput"])
        assert device.calls > 100 and device.synchronised > timed
        return found

    return measured


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_profile_of_a_gpu_is_of_the_gpu(
    precision: str, on_gpu: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", Counter())  # type: ignore[arg-type]
    found = on_gpu(precision=precision)
    assert found["conditions"]["device"] == "GPU a simulated device, 16 GiB" and found["precision"] == precision
    assert found["peak_bytes"]["in_all"] == 3 * 10**9
    examples = sum(one["examples"] for one in found["samples"]["throughput"])
    assert found["energy_joules_per_example"] == pytest.approx(1.0 / examples)
    assert found["cost"]["products"] == precision and found["throughput"]["share_of_product_rate"] > 0
    budgets = [one["batch_tokens"] for one in found["samples"]["throughput"]]
    assert 1 < len(budgets) < len(timing.BUDGETS_ON_GPU) and budgets == list(BUDGETS)[: len(budgets)]
    words = profile_words(found)
    assert f"of the {precision} rate" in words and "3,000 MB, of the GPU" in words and "J, the GPU" in words
    assert f"products here            {found['cost']['flops_per_second_of_products'] / 1e9:,.0f} G" in cost_words(
        found["cost"]
    )


def test_a_batch_that_does_not_fit_a_gpu_ends_the_sizes_that_are_tried(
    on_gpu: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = timing._throughput

    def small(engine: Any, encoded: Any, pad_id: int, budget: int) -> dict[str, Any]:
        if budget > BUDGETS[0]:
            raise torch.OutOfMemoryError
        return plain(engine, encoded, pad_id, budget)

    monkeypatch.setattr(timing, "_throughput", small)
    found = on_gpu()
    assert [one["batch_tokens"] for one in found["samples"]["throughput"]] == [BUDGETS[0]]
    assert found["energy_joules_per_example"] is None  # there is no energy counter here


def test_a_gpu_is_never_compared_with_a_cpu(found: dict[str, Any], on_gpu: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(UsageError, match=r"different conditions:\n.*device: .* CPUs against GPU a simulated device"):
        require_comparable(found, on_gpu())


def test_what_a_gpu_cannot_run_is_refused(stage: Path) -> None:
    done = viaduct("profile", str(stage), "--device", "cuda")
    assert done.status == 2 and "PyTorch finds no CUDA device" in done.errors
    with pytest.raises(UsageError, match="onnx runs on CPUs only"):
        require_engine("onnx", "fp32", "cuda")
    with pytest.raises(UsageError, match=r"torch does not run in int8 on GPUs\n.*fp32, bf16, fp16"):
        require_engine("torch", "int8", "cuda")
    with pytest.raises(UsageError, match="torch does not run in fp16 on CPUs"):
        require_engine("torch", "fp16")
