from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from torch.nn.functional import normalize

from viaduct.encode.tokens import Limits, encode
from viaduct.errors import DataError, UsageError
from viaduct.inference import neighbours, predict, retrieve
from viaduct.metrics.retrieval import bucc_f1, bucc_threshold
from viaduct.metrics.score import Prediction
from viaduct.models.encoder import load_encoder
from viaduct.rows import Row, Sentence
from viaduct.runs.stage import Context, PredictWork
from viaduct.tasks import registry

SIDES = (("source", "zh"), ("target", "en"))


def official(folder: Path) -> tuple[list[Sentence], torch.Tensor]:
    """Sentences and unit vectors of the oracle, both sides."""
    gold = [line.split("\t") for line in (folder / "gold.tsv").read_text().splitlines()]
    rows, vectors = [], []
    for side, language in SIDES:
        ids = (folder / f"{language}.id").read_text().split()
        texts = (folder / f"{language}.txt").read_text(encoding="utf-8").split("\n")[: len(ids)]
        for one, text in zip(ids, texts, strict=True):
            match = tuple(theirs for ours, theirs in gold if ours == one) if side == "source" else ()
            rows.append(Sentence(one, "zh", text, side, match))
        vectors.append(np.load(folder / f"{language}.npy"))
    return rows, normalize(torch.from_numpy(np.concatenate(vectors)), dim=1)


@pytest.mark.parametrize("split", ["dev", "test"])
@pytest.mark.parametrize("block", [64, 4096])
def test_mined_pairs_are_the_official_ones(
    split: str, block: int, shared_oracles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The official candidates in their order, less those that its evaluation drops: a text that several ids have."""
    monkeypatch.setattr(neighbours, "BLOCK", block)
    folder = shared_oracles / "retrieval" / "bucc"
    rows, vectors = official(folder / split)
    text = {row.id: row.text.strip() for row in rows}
    count = {side: Counter(row.text.strip() for row in rows if row.side == side) for side, _ in SIDES}
    path = folder / "expected" / f"candidates.{split}.max.ratio.tsv"
    lines = [line.split("\t") for line in path.read_text(encoding="utf-8").split("\n") if line]
    expected = [
        (float(score), source.strip(), target.strip())
        for score, source, target in lines
        if count["source"][source.strip()] == count["target"][target.strip()] == 1
    ]
    found = retrieve.mine(rows, vectors)
    assert len(expected) < len(lines), "the oracle repeats no line, so the rule is not tested"
    mined = [(text[source], text[target]) for _, source, target in found]
    assert mined == [(source, target) for _, source, target in expected]
    assert [score for score, *_ in found] == pytest.approx([score for score, *_ in expected], abs=1e-6)


def test_threshold_and_scores_from_vectors_are_the_official_ones(shared_oracles: Path) -> None:
    folder = shared_oracles / "retrieval" / "bucc"
    expected = json.loads((folder / "expected" / "expected.json").read_text())["mined"]["max.ratio"]
    threshold = retrieve.tune(*official(folder / "dev"))
    assert threshold == pytest.approx(expected["threshold"], abs=1e-6)
    rows, vectors = official(folder / "test")
    lines = retrieve.mined_lines(rows, retrieve.mine(rows, vectors), threshold)
    predictions = {one["id"]: Prediction(one["id"], "zh", one["prediction"]) for one in lines}
    scores = {score.metric: 100 * score.value for score in bucc_f1(rows, predictions)}
    assert scores == pytest.approx(expected["test_by_evaluate.py"], abs=1e-9)


@pytest.mark.parametrize(
    ("vectors", "expected", "block"),
    [("source", "cosine", 4096), ("source", "cosine", 7), ("source.ties", "cosine.ties", 4096)],
)
def test_matches_are_the_official_ones(
    vectors: str, expected: str, block: int, shared_oracles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The official search orders by distance, so a vector of zeros is nearer than any with a cosine below 0.5; here
    its cosine is 0. Nothing else differs; a zero vector does not come out of a layer norm.

    Equal vectors are compared in one block: the last bits of a product may depend on where in a block it is."""
    monkeypatch.setattr(neighbours, "BLOCK", block)
    folder = shared_oracles / "retrieval" / "tatoeba"
    sides = [np.load(folder / f"{name}.npy") for name in (vectors, "english")]
    rows = [
        Sentence(f"{side[0]}{at}", "de", "", side)
        for (side, _), part in zip(SIDES, sides, strict=True)
        for at in range(len(part))
    ]
    lines = retrieve.match_lines(rows, normalize(torch.from_numpy(np.concatenate(sides)), dim=1))
    official_ones = [int(line) for line in (folder / f"expected.{expected}.txt").read_text().split()]
    assert [line["id"] for line in lines] == [f"t{at}" for at in range(len(sides[1]))]
    zeros = {at for at, row in enumerate(sides[0]) if not row.any()}
    different = [
        at
        for at, (line, index) in enumerate(zip(lines, official_ones, strict=True))
        if line["prediction"] != f"s{index}"
    ]
    assert all(official_ones[at] in zeros for at in different)
    assert len(different) <= 2 * len(zeros)


def vectors_of(*cosines: tuple[float, float]) -> torch.Tensor:
    return normalize(torch.tensor(cosines, dtype=torch.float32), dim=1)


def test_mining_is_one_to_one_and_best_first() -> None:
    rows = [Sentence(f"s{at}", "de", f"s {at}", "source") for at in range(3)]
    rows += [Sentence(f"t{at}", "de", f"t {at}", "target") for at in range(2)]
    pairs = retrieve.mine(rows, vectors_of((1, 0), (0, 1), (0.1, 1), (1, 0.05), (0, 1)))
    assert [(source, target) for _, source, target in pairs] == [("s0", "t0"), ("s1", "t1")]
    assert pairs[0][0] > pairs[1][0]


def test_a_text_with_several_ids_is_not_mined_but_still_competes() -> None:
    rows = [Sentence(f"s{at}", "de", text, "source") for at, text in enumerate(["same", "other", "same ", "same"])]
    rows += [Sentence(f"t{at}", "de", f"t {at}", "target") for at in range(2)]
    pairs = retrieve.mine(rows, vectors_of((0, 1), (0.9, 0.3), (1, 0), (1, 0), (1, 0), (0, 1)))
    assert [(source, target) for _, source, target in pairs] == [("s1", "t1")]


def test_mining_without_one_side_finds_nothing() -> None:
    rows = [Sentence("s0", "de", "s", "source")]
    assert retrieve.mine(rows, vectors_of((1, 0))) == []
    assert retrieve.mined_lines(rows, [], 1.0) == [{"id": "s0", "language": "de", "prediction": None}]


def test_only_pairs_at_or_above_the_threshold_are_written() -> None:
    rows = [Sentence(f"наука-{at}", "ru", str(at), "source") for at in range(3)]
    lines = retrieve.mined_lines(rows, [(1.5, "наука-0", "é"), (1.25, "наука-2", "ü"), (1.0, "наука-1", "ß")], 1.25)
    assert lines == [
        {"id": "наука-0", "language": "ru", "prediction": "é", "scores": [1.5]},
        {"id": "наука-1", "language": "ru", "prediction": None},
        {"id": "наука-2", "language": "ru", "prediction": "ü", "scores": [1.25]},
    ]


def test_tuning_without_gold_is_refused() -> None:
    with pytest.raises(DataError, match="no gold pairs"):
        retrieve.tune([Sentence("s0", "de", "s", "source", ())], torch.ones(1, 2))


@pytest.mark.parametrize("pooling", ["mean", "first"])
@pytest.mark.parametrize("layer", [0, 1, 2])
def test_vectors_are_the_pooled_states_of_the_layer(
    tiny_tokenizer: Any, tiny_encoder: Path, pooling: str, layer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [*tiny.sentences("en"), *tiny.sentences("th")]
    encoded = encode([Sentence(str(at), "en", text) for at, text in enumerate(texts)], tiny_tokenizer, (), Limits(64))
    expected = []
    model = load_encoder(str(tiny_encoder), None).eval()
    for text in texts:
        with torch.inference_mode():
            states = model(**tiny_tokenizer(text, return_tensors="pt"), output_hidden_states=True).hidden_states[layer][
                0
            ]
        expected.append(normalize(states[0] if pooling == "first" else states.mean(dim=0), dim=0))
    monkeypatch.setattr(retrieve, "BATCH_TOKENS", 64)
    found = retrieve.embed(model, encoded, 1, layer, pooling, lambda *_: None)
    torch.testing.assert_close(found, torch.stack(expected), atol=1e-5, rtol=0)
    assert len(model.encoder.layer) == layer, "layers above the pooled one were computed"


def test_the_layer_is_two_thirds_up_unless_it_is_named(tiny_tokenizer: Any) -> None:
    model = tiny.encoder(tiny_tokenizer, layers=3)
    assert retrieve.check_layer(model, None) == 2
    assert [retrieve.check_layer(model, layer) for layer in (0, 3)] == [0, 3]
    with pytest.raises(UsageError, match=r"has layers 0 \(embeddings\) to 3"):
        retrieve.check_layer(model, 4)


def sides(language: str, count: int, *, prefix: str = "") -> list[Row]:
    """Translations by their index in the word lists, and English distractors."""
    words, english = tiny.LANGUAGES[language], tiny.LANGUAGES["en"]
    rows: list[Row] = [
        Sentence(f"{language}-{prefix}{at}", language, words[at], "source", (f"en-{prefix}{at}",))
        for at in range(count)
    ]
    return rows + [
        Sentence(f"en-{prefix}{at}", language, english[at], "target", (f"{language}-{prefix}{at}",))
        for at in range(count)
    ]


def stage(kind: str, folder: Path, encoder: Path, parts: dict[tuple[str, str], list[Row]], **changes: Any) -> Context:
    languages = tuple(dict.fromkeys(language for language, _ in parts))
    fields = {"split": "test", "max_length": 64, "stride": 8, "layer": 1, "pooling": "mean", **changes}
    work = PredictWork(task=f"tiny-{kind}", languages=languages, **fields)
    rows = {(f"tiny-{kind}", split, language): part for (language, split), part in parts.items()}
    return tiny.context(work, folder, rows, encoder=encoder)


def lines_of(context: Context, language: str) -> list[dict[str, Any]]:
    text = (context.directory / "predictions" / f"{language}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n") if line]


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("retrieval", "mining"):
        card = tiny.card(kind)
        monkeypatch.setitem(registry._BY_NAME, card.name, card)


@pytest.mark.usefixtures("cards")
def test_each_language_is_searched_among_its_own_sentences(tiny_encoder: Path, tmp_path: Path) -> None:
    """Also with a language of one sentence; a sentence that is on both sides finds itself."""
    parts = {("de", "test"): sides("de", 12), ("ru", "test"): sides("ru", 1), ("zh", "test"): sides("zh", 7)}
    context = stage("retrieval", tmp_path, tiny_encoder, parts)
    spent = predict.run(context)
    assert spent.examples == 2 * (12 + 1 + 7)
    for (language, _), rows in parts.items():
        found = lines_of(context, language)
        assert [one["id"] for one in found] == [row.id for row in rows if row.side == "target"]
        assert {one["prediction"] for one in found} <= {row.id for row in rows if row.side == "source"}
    winter = tiny.LANGUAGES["en"].index("winter")
    assert lines_of(context, "ru")[0]["prediction"] == "ru-0"
    assert lines_of(context, "de")[winter]["id"] == f"en-{winter}"
    assert not (context.directory / "choices.json").exists()


@pytest.mark.usefixtures("cards")
def test_mining_tunes_its_threshold_on_dev_and_says_so(tiny_encoder: Path, tmp_path: Path) -> None:
    parts = {
        (language, split): sides(language, 12, prefix=split) for language in ("de", "ru") for split in ("test", "dev")
    }
    context = stage("mining", tmp_path, tiny_encoder, parts)
    predict.run(context)
    choices = json.loads((context.directory / "choices.json").read_text())
    assert set(choices) == {"de", "ru"}
    for language in ("de", "ru"):
        threshold = choices[language]["threshold"]
        found = lines_of(context, language)
        assert [one["id"] for one in found] == [f"{language}-test{at}" for at in range(12)]
        for one in found:
            assert (one["prediction"] is None) == ("scores" not in one)
            assert "scores" not in one or one["scores"][0] >= threshold - 1e-5
        # The texts of both splits are the same here, so the dev threshold is also the best one for the test pairs.
        encoder = load_encoder(str(tiny_encoder), None).eval()
        dev = parts[language, "dev"]
        encoded = encode(dev, predict.load_tokenizer(str(tiny_encoder), None), (), Limits(64))
        vectors = retrieve.embed(encoder, encoded, 1, 1, "mean", lambda *_: None)
        gold = {(row.id, row.match[0]) for row in dev if row.side == "source"}
        assert threshold == pytest.approx(bucc_threshold(retrieve.mine(dev, vectors), gold).threshold, abs=1e-5)


def test_centring_takes_away_what_tells_the_sides_apart() -> None:
    rows = [Sentence(f"{side}{at}", "de", "x", side, ()) for side in ("source", "target") for at in range(6)]
    torch.manual_seed(0)
    meaning_ND = normalize(torch.randn(6, 16), dim=1)
    offset_D = 3 * normalize(torch.randn(16), dim=0)
    vectors_ND = normalize(torch.cat([meaning_ND + offset_D, meaning_ND - offset_D]), dim=1)
    assert torch.equal(retrieve.side_vectors(rows, vectors_ND, centre=False), vectors_ND)
    found_ND = retrieve.side_vectors(rows, vectors_ND, centre=True)
    torch.testing.assert_close(found_ND.norm(dim=1), torch.ones(12))
    assert (found_ND[6:] @ found_ND[:6].T).argmax(dim=1).tolist() == list(range(6))
