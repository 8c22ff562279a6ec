"""Training and predicting with translations: what is batched, what the loss is, and what the stages produce."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from in_parts import assert_parts_have_the_same_losses, without_dropout
from simulated_device import simulated
from torch.nn.functional import cross_entropy

from viaduct.encode.batch import Batch
from viaduct.encode.tokens import Builder
from viaduct.errors import DataError
from viaduct.fusion.alignment import CoupleOrder, couples
from viaduct.fusion.fuse import FuseWork
from viaduct.fusion.fused_prediction import predict, sums
from viaduct.fusion.fused_training import FusedFineTuning
from viaduct.fusion.matching import match
from viaduct.fusion.predict_fused import PredictFusedWork
from viaduct.fusion.train_on import TrainOnWork
from viaduct.inference.predict import PredictWork
from viaduct.rows import Answer, Pair, Row, Span, Tagged
from viaduct.runs.rows import Loaded
from viaduct.runs.spec import Training
from viaduct.runs.stage import Context, kind_of

KINDS = ("pair", "span", "tagged")
TRAINING = Training(learning_rate=1e-3, epochs=3.0, batch_tokens=150, max_length=40, stride=8, evaluations=2)
WORDS = dict(zip(tiny.LANGUAGES["en"], tiny.LANGUAGES["de"], strict=True))


def german(row: Row) -> Row:
    """The row translated into German word by word, with its gold."""

    def of(text: str) -> str:
        return " ".join(WORDS.get(word.strip("."), word) for word in text.split())

    if isinstance(row, Pair):
        return replace(row, language="de", first=of(row.first), second=of(row.second))
    if isinstance(row, Tagged):
        return replace(row, language="de", tokens=tuple(map(of, row.tokens)))
    assert isinstance(row, Span) and row.answers
    words, at = row.context.split(), row.context[: row.answers[0].start].count(" ")
    context = [of(word) for word in words]
    start = sum(len(word) + 1 for word in context[:at])
    return replace(row, language="de", context=" ".join(context), answers=(Answer(context[at], start),))


def parts(kind: str, count: int = 24) -> dict[tuple[str, str, str], Sequence[Row]]:
    task, english = f"tiny-{kind}", tiny.rows(kind, count)
    others = tiny.rows(kind, 8, offset=40)
    return {
        (task, "train", "en"): english,
        (task, "train", "de"): [german(row) for row in english],
        (task, "train", "sw"): [replace(german(row), language="sw") for row in english[: count // 2]],
        (task, "dev", "en"): tiny.rows(kind, 8, offset=30),
        (task, "dev", "de"): [german(row) for row in tiny.rows(kind, 8, offset=30)],
        (task, "test", "de"): [german(row) for row in others],
        (task, "test", "en"): others,
        ("tiny-german", "train", "de"): [*map(german, english), replace(german(english[0]), id="evaluated")],
        ("tiny-english", "test", "de"): [replace(row, language="de") for row in others],
    }


def work(kind: str = "pair", **changes: Any) -> FuseWork:
    task = f"tiny-{kind}"
    asked = {
        "task": task, "training": TRAINING, "seed": 1, "card": task, "languages": ("de",), "local": 1, "fused": 1,
        "most_missing": 0.0, "dev": ((task, "en"),),
    }  # fmt: skip
    return FuseWork(**{**asked, **changes})


def context(asked: Any, folder: Path, encoder: Path, kind: str = "pair", **inputs: Path) -> Context:
    made = tiny.context(asked, folder, parts(kind), encoder=encoder)
    made.directory.mkdir(parents=True, exist_ok=True)
    if asked.kind not in ("fuse", "train_on"):
        return replace(made, inputs={**made.inputs, **inputs})
    needs = kind_of(asked.kind).needs(asked, None)  # type: ignore[arg-type]

    def load(*need: str) -> Loaded:
        assert need in needs, f"reads {need}, which is no part of its fingerprint"
        return made.load(*need)

    return replace(made, inputs={**made.inputs, **inputs}, load=load)


def started(made: Context) -> FusedFineTuning:
    stage = FusedFineTuning(made, made.work)  # type: ignore[arg-type]
    stage.begin()
    stage.model.eval()
    return stage


@pytest.mark.parametrize("kind", KINDS)
def test_batches_in_parts_have_the_same_losses(kind: str, tmp_path: Path, tiny_encoder: Path) -> None:
    taught = {} if kind == "tagged" else {"alpha": 0.5}
    start = without_dropout(Path(shutil.copytree(tiny_encoder, tmp_path / "start" / "encoder")))
    tiny.run(teacher := context(work(kind), tmp_path / "teacher", start, kind))
    inputs = {"teacher": teacher.directory}
    assert_parts_have_the_same_losses(
        lambda name: context(work(kind, **taught), tmp_path / name, start, kind, **inputs)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_is_left_that_reads_one_language_alone(kind: str, tmp_path: Path, tiny_encoder: Path) -> None:
    made = context(work(kind), tmp_path, tiny_encoder, kind)
    spent = tiny.run(made)
    log = json.loads((made.directory / "training.json").read_text())
    told = json.loads((made.directory / "fusion.json").read_text())
    assert told["coverage"] == [{"language": "de", "rows": 24, "missing": 0, "unknown": 0}]
    assert log["evaluations"][-1]["loss"] < 3 * 2 and spent.flops > 0
    plain = PredictWork(task=f"tiny-{kind}", languages=("de",), split="test", max_length=40, stride=8)
    after = context(plain, tmp_path / "plain", made.directory / "encoder", kind)
    tiny.run(after)
    assert len((after.directory / "predictions" / "de.jsonl").read_text().splitlines()) == 8


def test_training_and_predicting_stay_on_their_device(
    tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = context(work(), tmp_path / "teacher", tiny_encoder)
    tiny.run(teacher)
    with simulated(monkeypatch) as device:
        made = context(work(alpha=0.3), tmp_path / "made", tiny_encoder, teacher=teacher.directory)
        tiny.run(replace(made, device="cuda"))
        trained, device.calls = device.calls, 0
        plain = {name: getattr(made.work, name) for name in ("task", "card", "local", "fused", "most_missing")}
        asked = PredictFusedWork(
            **{**plain, "card": "tiny-english"}, languages=("de",), split="test", max_length=40, stride=8,
            translated=("de",), products="bf16",
        )  # fmt: skip
        tiny.run(replace(context(asked, tmp_path / "predicted", made.directory / "encoder"), device="cuda"))
    assert trained > 100 and device.calls > 50


def test_the_same_work_gives_the_same_bytes(tmp_path: Path, tiny_encoder: Path) -> None:
    found = []
    for name in ("one", "two"):
        made = context(work(), tmp_path / name, tiny_encoder)
        tiny.run(made)
        found.append((made.directory / "encoder" / "model.safetensors").read_bytes())
    assert found[0] == found[1]


def test_dev_rows_of_other_languages_choose_and_no_english_ones_are_read(tmp_path: Path, tiny_encoder: Path) -> None:
    made = context(work(dev=(("tiny-pair", "de"),)), tmp_path, tiny_encoder)
    assert {row.language for row in FusedFineTuning(made, made.work).data.dev_rows} == {"de"}  # type: ignore[arg-type]
    tiny.run(made)


@pytest.mark.parametrize("languages", [("de",), ("de", "sw")])
def test_an_epoch_is_planned_to_count_steps_and_to_train_and_never_again(
    languages: tuple[str, ...], tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = context(work(languages=languages, most_missing=0.5), tmp_path, tiny_encoder)
    planned: list[int] = []
    plan = CoupleOrder.planned
    monkeypatch.setattr(CoupleOrder, "planned", lambda *given: planned.append(given[1]) or plan(*given))
    tiny.run(made)
    assert planned == [0, 1, 2] * 2


def test_every_english_row_comes_once_an_epoch_with_a_language_that_is_drawn(
    tmp_path: Path, tiny_encoder: Path
) -> None:
    stage = started(context(work(languages=("de", "sw"), most_missing=0.5), tmp_path, tiny_encoder))
    order = stage.data.order
    assert isinstance(order, CoupleOrder)
    drawn = []
    for epoch in range(6):
        examples = np.concatenate(order.plan(epoch)).reshape(-1, 2)
        assert sorted(examples[:, 1].tolist()) == list(range(24))
        texts = dict(zip(examples[:, 1].tolist(), examples[:, 0].tolist(), strict=True))
        assert all(text == 24 + row or text == 48 + row for row, text in texts.items())
        assert all(texts[row] == 24 + row for row in range(12, 24)), "Swahili has the first half only"
        drawn.append([texts[row] for row in range(12)])
        lengths = stage.data.encoded.lengths
        assert all(lengths[batch].max() * len(batch) <= TRAINING.batch_tokens for batch in order.plan(epoch))
    assert len({tuple(one) for one in drawn}) > 1
    assert all(map(np.array_equal, order.plan(2), order.plan(2)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fused", [0, 1])
def test_the_loss_is_that_of_both_sides_whose_gold_is_known(
    kind: str, fused: int, tmp_path: Path, tiny_encoder: Path
) -> None:
    stage = started(context(work(kind, fused=fused), tmp_path, tiny_encoder, kind))
    given = stage.data.batch(0)
    with torch.no_grad():
        found = float(stage.loss(stage.model, given))
        logits = stage.model.couples(given)
        if fused == 0:
            assert torch.equal(logits, stage.model(given))
    fields, total = stage.data.encoded.fields, 0.0
    for at, example in enumerate(given.examples):
        total += _nats(kind, logits[at], given, at, fields, int(example))
    batches, units = len(stage.data.order.plan(0)), stage.units
    assert found == pytest.approx(total * batches / units, rel=1e-5)
    english = given.examples[1::2]
    couples = int(fields["words"][english].sum()) if kind == "tagged" else len(english)
    assert found / stage.data.weight(given) == pytest.approx(total / couples, rel=1e-5)


def _nats(kind: str, logits: torch.Tensor, given: Batch, at: int, fields: Any, example: int) -> float:
    """One sequence's cross-entropy, by its definition."""
    if kind == "pair":
        return float(-logits.log_softmax(-1)[fields["label"][example]])
    if kind == "span":
        real = logits if given.mask_BL is None else logits[given.mask_BL[at]]
        golds = (int(fields["start"][example]), int(fields["end"][example]))
        return float(sum(-real[:, way].log_softmax(0)[gold] for way, gold in enumerate(golds))) / 2
    if at % 2 == 0:
        return 0.0  # tags stay with the English words
    ends = np.concatenate([[0], np.cumsum(fields["words"])])
    words = range(ends[example], ends[example + 1])
    return sum(
        float(cross_entropy(logits[fields["first"][one]], torch.tensor(fields["tag"][one]).long())) for one in words
    )


@pytest.mark.parametrize("kind", KINDS)
def test_self_teaching_adds_the_teachers_soft_labels_of_the_text(kind: str, tmp_path: Path, tiny_encoder: Path) -> None:
    teacher = context(work(kind), tmp_path / "teacher", tiny_encoder, kind)
    tiny.run(teacher)
    alone = started(context(work(kind), tmp_path / "alone", tiny_encoder, kind))
    taught = work(kind, alpha=0.3, temperature=2.0)
    stage = started(context(taught, tmp_path / "taught", tiny_encoder, kind, teacher=teacher.directory))
    given = stage.data.batch(0)
    assert stage.teacher is not None
    scale = len(stage.data.order.plan(0)) / stage.units
    with torch.no_grad():
        logits, teachers = stage.model.couples(given), stage.teacher.couples(given)
        assert torch.equal(logits, alone.model.couples(given))
        text = sum(
            _nats(kind, logits[at], given, at, stage.data.encoded.fields, int(example))
            for at, example in enumerate(given.examples)
            if at % 2 == 0
        )
        apart = sum(_apart(kind, logits[at], teachers[at], given, at, stage) for at in range(0, len(logits), 2))
        found, plain = float(stage.loss(stage.model, given)), float(alone.loss(alone.model, given))
    assert apart > 1e-5
    assert found == pytest.approx(plain + scale * (0.3 * 4.0 * apart - 0.3 * text), rel=1e-4)


def _apart(kind: str, own: torch.Tensor, its: torch.Tensor, given: Batch, at: int, stage: FusedFineTuning) -> float:
    """KL(teacher || student) at temperature 2, of one sequence."""
    if kind == "span":
        real = slice(None) if given.mask_BL is None else given.mask_BL[at]
        sides = [(own[real][:, way], its[real][:, way]) for way in (0, 1)]
    elif kind == "tagged":
        fields, example = stage.data.encoded.fields, int(given.examples[at])
        ends = np.concatenate([[0], np.cumsum(fields["words"])])
        places = [fields["first"][one] for one in range(ends[example], ends[example + 1])]
        sides = [(own[place], its[place]) for place in places]
    else:
        sides = [(own, its)]
    total = 0.0
    for student, teacher in sides:
        p, q = torch.softmax(teacher / 2.0, 0), torch.softmax(student / 2.0, 0)
        total += float((p * (p / q).log()).sum())
    return total / 2 if kind == "span" else total


@pytest.fixture
def trained(tmp_path: Path, tiny_encoder: Path, request: pytest.FixtureRequest) -> tuple[str, Path]:
    """(kind, directory of a Fuse stage)."""
    made = context(work(request.param), tmp_path / "model", tiny_encoder, request.param)
    tiny.run(made)
    return request.param, made.directory


def predicted(trained: tuple[str, Path], folder: Path, **changes: Any) -> tuple[Path, list[dict[str, Any]]]:
    kind, directory = trained
    asked = {
        "task": f"tiny-{kind}", "languages": ("en", "de"), "split": "test", "max_length": 40, "stride": 8,
        "card": "tiny-english", "translated": ("de",), "local": 1, "fused": 1, "most_missing": 0.0,
    }  # fmt: skip
    made = context(PredictFusedWork(**{**asked, **changes}), folder, directory / "encoder", kind)
    predict(made, made.work)  # type: ignore[arg-type]
    lines = (
        (made.directory / "predictions" / "de.jsonl").read_text().splitlines() if changes.get("card", "") == "" else []
    )
    return made.directory, [json.loads(line) for line in lines]


@pytest.mark.parametrize("trained", KINDS, indirect=True)
def test_without_fused_layers_predictions_are_those_of_the_plain_model(
    trained: tuple[str, Path], tmp_path: Path
) -> None:
    kind, directory = trained
    plain = PredictWork(task=f"tiny-{kind}", languages=("en", "de"), split="test", max_length=40, stride=8)
    after = context(plain, tmp_path / "plain", directory / "encoder", kind)
    tiny.run(after)
    expected = [json.loads(line) for line in (after.directory / "predictions" / "de.jsonl").read_text().splitlines()]
    _, same = predicted(trained, tmp_path / "zero", fused=0)
    _, other = predicted(trained, tmp_path / "one")
    for one, wanted in zip(same, expected, strict=True):
        assert (one["id"], one["prediction"]) == (wanted["id"], wanted["prediction"])
        assert one.get("scores", []) == pytest.approx(wanted.get("scores", []), abs=1e-4)
    if kind != "tagged":
        assert [one["scores"] for one in other] != [one["scores"] for one in same]


@pytest.mark.parametrize("trained", ["pair"], indirect=True)
def test_what_reading_both_costs_is_left(trained: tuple[str, Path], tmp_path: Path) -> None:
    directory, _ = predicted(trained, tmp_path / "one")
    found = json.loads((directory / "fused_inference.json").read_text())
    alone, together = found["alone"], found["together"]
    assert 1.5 < together["tokens"] / alone["tokens"] < 2.5 and together["flops"] > 1.5 * alone["flops"]
    assert found["scores"] == {} and not found["oracle"] and together["latency_ms"] > 0
    assert found["coverage"] == [{"language": "de", "rows": 8, "missing": 0, "unknown": 0}]


def test_cost_counts_real_tokens_of_both_sides() -> None:
    builder = Builder()
    for row, length in enumerate((20, 8, 5, 5)):
        builder.example(row, [np.zeros(length, np.int64)], label=[0])
    encoded = builder.build()
    assert sums(encoded, np.array([[0, 1], [2, 3]])) == (38, 400 + 64 + 50, 28**2 - 464 + 50)
    assert sums(encoded, np.array([[0]])) == (20, 400, 0) and sums(encoded, np.zeros((0, 2), int)) == (0, 0, 0)


@pytest.mark.parametrize("trained", ["pair"], indirect=True)
def test_an_oracle_scores_itself_and_leaves_no_predictions(trained: tuple[str, Path], tmp_path: Path) -> None:
    directory, _ = predicted(trained, tmp_path / "oracle", card=None, languages=("de",))
    found = json.loads((directory / "fused_inference.json").read_text())
    assert found["oracle"] and set(found["scores"]) == {"de"} and not (directory / "predictions").exists()


@pytest.mark.parametrize("trained", ["pair"], indirect=True)
def test_rows_without_a_translation_are_predicted_alone_where_they_may(
    trained: tuple[str, Path], tmp_path: Path
) -> None:
    _, plain = predicted(trained, tmp_path / "zero", fused=0)
    directory, alone = predicted(trained, tmp_path / "none", translated=(), most_missing=1.0)
    found = json.loads((directory / "fused_inference.json").read_text())
    assert [one["scores"] for one in alone] == [pytest.approx(one["scores"], abs=1e-4) for one in plain]
    assert found["coverage"][0]["missing"] == 8 and found["together"] is None
    with pytest.raises(DataError, match="8 of 8 rows have no translation"):
        predicted(trained, tmp_path / "refused", translated=())


def test_missing_translations_are_counted_and_refused() -> None:
    rows = tiny.rows("pair", 10)
    others = [replace(german(row), label=None) for row in rows[2:]] + [replace(german(rows[0]), id="stray")]
    with pytest.raises(DataError, match=r"2 of 10 rows have no translation.*'p0'; 1 of 9.*\n.*ids of the originals"):
        match(rows, others, "de", 0.1, "mine train")
    found = match(rows, others, "de", 0.2, "mine train")
    assert (found.coverage.missing, found.coverage.unknown) == (2, 1)
    assert found.at.tolist() == list(range(2, 10)) and found.translations[0].gold == rows[2].gold


def test_windows_go_together_by_number_and_none_is_left_out() -> None:
    ours, theirs = np.array([0, 0, 0, 1, 3]), np.array([0, 0, 1, 1, 2])
    assert couples(ours, theirs, every=True).tolist() == [[0, 0], [1, 1], [2, 1], [3, 2], [3, 3]]
    assert couples(ours, theirs, every=False).tolist() == [[0, 0], [1, 1], [2, 1], [3, 2]]


@pytest.mark.parametrize("with_english", [True, False])
def test_plain_training_leaves_out_translations_of_other_rows_and_counts_them(
    with_english: bool, tmp_path: Path, tiny_encoder: Path
) -> None:
    english = (("tiny-pair", "en"),) * with_english
    asked = TrainOnWork(
        task="tiny-pair", training=TRAINING, seed=1, sources=(*english, ("tiny-german", "de")), rows=None,
        continues=False, dev=(("tiny-pair", "en"),), by_id=not with_english,
    )  # fmt: skip
    made = context(asked, tmp_path, tiny_encoder)
    tiny.run(made)
    assert json.loads((made.directory / "training.json").read_text())["rows"] == 24 * (1 + with_english)
    told = json.loads((made.directory / "translations.json").read_text())
    assert told["coverage"] == [{"language": "de", "rows": 24, "missing": 0, "unknown": 1}]


def test_plain_training_stops_where_too_many_translations_are_missing(tmp_path: Path, tiny_encoder: Path) -> None:
    asked = TrainOnWork(
        task="tiny-pair", training=TRAINING, seed=1, sources=(("tiny-pair", "sw"),), rows=None, continues=False,
        dev=(("tiny-pair", "en"),), by_id=True,
    )  # fmt: skip
    with pytest.raises(DataError, match="12 of 24 rows have no translation"):
        tiny.run(context(asked, tmp_path, tiny_encoder))


def test_a_few_rows_of_another_language_go_on_from_english(tmp_path: Path, tiny_encoder: Path) -> None:
    first = context(work(fused=0), tmp_path / "first", tiny_encoder)
    tiny.run(first)
    asked = TrainOnWork(
        task="tiny-pair",
        training=TRAINING.model_copy(update={"learning_rate": 1e-12, "epochs": 1.0}),
        seed=1,
        sources=(("tiny-pair", "de"), ("tiny-pair", "sw")),
        rows=5,
        continues=True,
        dev=(("tiny-pair", "en"), ("tiny-pair", "de")),
    )
    made = context(asked, tmp_path / "few", first.directory / "encoder")
    tiny.run(made)
    log = json.loads((made.directory / "training.json").read_text())
    assert log["rows"] == 10
    before, after = ((one.directory / "head.safetensors").read_bytes() for one in (first, made))
    assert len(before) == len(after)
    from safetensors.torch import load_file

    old, new = (load_file(one.directory / "head.safetensors") for one in (first, made))
    assert all(torch.allclose(old[name], new[name], atol=1e-8) for name in old)
