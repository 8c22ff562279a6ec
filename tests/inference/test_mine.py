"""Mining and matching of given vectors, compared with the official scripts."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from mined import SEARCH, mined
from torch.nn.functional import normalize

from viaduct.errors import DataError
from viaduct.inference import neighbours
from viaduct.inference.mine import matches, translations, tune
from viaduct.inference.neighbours import nearest_both_ways
from viaduct.metrics.retrieval import bucc_f1
from viaduct.metrics.score import Prediction
from viaduct.rows import Sentence
from viaduct.runs.spec import Retrieval

SIDES = (("source", "zh"), ("target", "en"))
NAMES = {"max": "max", "intersection": "intersect"}


def official(folder: Path) -> tuple[list[Sentence], torch.Tensor]:
    """Sentences and unit vectors of both sides of the oracle."""
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
@pytest.mark.parametrize("margin", ["ratio", "distance", "absolute"])
@pytest.mark.parametrize("candidates", ["max", "intersection"])
def test_mined_pairs_are_the_official_ones(
    split: str, block: int, margin: str, candidates: str, shared_oracles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The official candidates in their order, minus those its evaluation drops: texts that several ids share."""
    monkeypatch.setattr(neighbours, "LARGEST_BLOCK", block)
    folder = shared_oracles / "retrieval" / "bucc"
    rows, vectors = official(folder / split)
    text = {row.id: row.text.strip() for row in rows}
    count = {side: Counter(row.text.strip() for row in rows if row.side == side) for side, _ in SIDES}
    path = folder / "expected" / f"candidates.{split}.{NAMES[candidates]}.{margin}.tsv"
    lines = [line.split("\t") for line in path.read_text(encoding="utf-8").split("\n") if line]
    expected = [
        (float(score), source.strip(), target.strip())
        for score, source, target in lines
        if count["source"][source.strip()] == count["target"][target.strip()] == 1
    ]
    assert len(expected) < len(lines), "the oracle repeats no line, so the rule is not tested"
    found = mined(rows, vectors, Retrieval.model_validate({"margin": margin, "candidates": candidates}))
    pairs = [(text[source], text[target]) for _, source, target in found]
    if candidates == "intersection":  # the official code writes these in the order of the sentences
        expected.sort(key=lambda pair: -pair[0])
    assert pairs == [(source, target) for _, source, target in expected]
    assert [score for score, *_ in found] == pytest.approx([score for score, *_ in expected], abs=1e-6)


def test_one_neighbour_is_the_official_variant(shared_oracles: Path) -> None:
    folder = shared_oracles / "retrieval" / "bucc"
    rows, vectors = official(folder / "dev")
    text = {row.id: row.text.strip() for row in rows}
    lines = (folder / "expected" / "candidates.dev.max.ratio.k-1.tsv").read_text(encoding="utf-8").split("\n")
    expected = {tuple(part.strip() for part in line.split("\t")[1:]) for line in lines if line}
    found = {(text[source], text[target]) for _, source, target in mined(rows, vectors, Retrieval(neighbours=1))}
    assert found and found <= expected


@pytest.mark.parametrize("how", ["max.ratio", "max.distance", "max.absolute", "intersect.ratio", "intersect.distance"])
def test_threshold_and_scores_from_vectors_are_the_official_ones(how: str, shared_oracles: Path) -> None:
    folder = shared_oracles / "retrieval" / "bucc"
    expected = json.loads((folder / "expected" / "expected.json").read_text())["mined"][how]
    candidates, _, margin = how.partition(".")
    given = {"margin": margin, "candidates": {"intersect": "intersection"}.get(candidates, candidates)}
    retrieval = Retrieval.model_validate(given)
    rows, vectors = official(folder / "dev")
    threshold, f1 = tune(rows, mined(rows, vectors, retrieval))
    assert threshold == pytest.approx(expected["threshold"], abs=1e-6)
    assert 100 * f1 == pytest.approx(expected["dev"]["F1"], abs=1e-9)
    rows, vectors = official(folder / "test")
    predictions = {one.id: one for one in translations(rows, mined(rows, vectors, retrieval), threshold)}
    scores = {score.metric: 100 * score.value for score in bucc_f1(rows, predictions)}
    assert scores == pytest.approx(expected["test_by_evaluate.py"], abs=1e-9)


def test_one_direction_gives_every_sentence_its_best() -> None:
    rows = [Sentence(f"s{at}", "de", f"s {at}", "source") for at in range(3)]
    rows += [Sentence(f"t{at}", "de", f"t {at}", "target") for at in range(2)]
    vectors = vectors_of((1, 0), (0, 1), (0.1, 1), (1, 0.05), (0, 1))
    forward = mined(rows, vectors, Retrieval(candidates="forward", margin="absolute"))
    assert {pair[1:] for pair in forward} == {("s0", "t0"), ("s1", "t1"), ("s2", "t1")}
    backward = mined(rows, vectors, Retrieval(candidates="backward", margin="absolute"))
    assert {pair[1:] for pair in backward} == {("s0", "t0"), ("s1", "t1")}
    both = translations(rows, [(0.9, "s0", "t1"), (0.8, "s0", "t0")], 0.5)
    assert both[0] == Prediction("s0", "de", ["t1", "t0"], (0.9, 0.8))


@pytest.mark.parametrize(
    ("vectors", "expected", "block"),
    [("source", "cosine", 4096), ("source", "cosine", 7), ("source.ties", "cosine.ties", 4096)],
)
def test_matches_are_the_official_ones(
    vectors: str, expected: str, block: int, shared_oracles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The official search orders by distance, so a zero vector is nearer than any with a cosine below 0.5; here its
    cosine is 0. Nothing else differs, and a layer norm never returns a zero vector.

    Equal vectors are compared in one block: the last bits of a product may depend on its place in the block."""
    monkeypatch.setattr(neighbours, "LARGEST_BLOCK", block)
    folder = shared_oracles / "retrieval" / "tatoeba"
    sides = [np.load(folder / f"{name}.npy") for name in (vectors, "english")]
    rows = [
        Sentence(f"{side[0]}{at}", "de", "", side)
        for (side, _), part in zip(SIDES, sides, strict=True)
        for at in range(len(part))
    ]
    source_ND, target_ND = (normalize(torch.from_numpy(part), dim=1) for part in sides)
    found, _ = nearest_both_ways(target_ND, source_ND, 1, SEARCH)
    found_ones = matches(rows[len(source_ND) :], rows[: len(source_ND)], found)
    official_ones = [int(line) for line in (folder / f"expected.{expected}.txt").read_text().split()]
    assert [one.id for one in found_ones] == [f"t{at}" for at in range(len(sides[1]))]
    zeros = {at for at, row in enumerate(sides[0]) if not row.any()}
    different = [
        at
        for at, (one, index) in enumerate(zip(found_ones, official_ones, strict=True))
        if one.prediction != f"s{index}"
    ]
    assert all(official_ones[at] in zeros for at in different)
    assert len(different) <= 2 * len(zeros)


def vectors_of(*cosines: tuple[float, float]) -> torch.Tensor:
    return normalize(torch.tensor(cosines, dtype=torch.float32), dim=1)


def test_mining_is_one_to_one_and_best_first() -> None:
    rows = [Sentence(f"s{at}", "de", f"s {at}", "source") for at in range(3)]
    rows += [Sentence(f"t{at}", "de", f"t {at}", "target") for at in range(2)]
    pairs = mined(rows, vectors_of((1, 0), (0, 1), (0.1, 1), (1, 0.05), (0, 1)))
    assert [(source, target) for _, source, target in pairs] == [("s0", "t0"), ("s1", "t1")]
    assert pairs[0][0] > pairs[1][0]


def test_a_text_with_several_ids_is_not_mined_but_still_competes() -> None:
    rows = [Sentence(f"s{at}", "de", text, "source") for at, text in enumerate(["same", "other", "same ", "same"])]
    rows += [Sentence(f"t{at}", "de", f"t {at}", "target") for at in range(2)]
    pairs = mined(rows, vectors_of((0, 1), (0.9, 0.3), (1, 0), (1, 0), (1, 0), (0, 1)))
    assert [(source, target) for _, source, target in pairs] == [("s1", "t1")]


def test_mining_without_one_side_finds_nothing() -> None:
    rows = [Sentence("s0", "de", "s", "source")]
    assert mined(rows, vectors_of((1, 0))) == []
    assert translations(rows, [], 1.0) == [Prediction("s0", "de", None)]


def test_only_pairs_at_or_above_the_threshold_are_written() -> None:
    rows = [Sentence(f"наука-{at}", "ru", str(at), "source") for at in range(3)]
    found = translations(rows, [(1.5, "наука-0", "é"), (1.25, "наука-2", "ü"), (1.0, "наука-1", "ß")], 1.25)
    assert found == [
        Prediction("наука-0", "ru", "é", (1.5,)),
        Prediction("наука-1", "ru", None),
        Prediction("наука-2", "ru", "ü", (1.25,)),
    ]


def test_tuning_without_gold_is_refused() -> None:
    with pytest.raises(DataError, match="no gold pairs"):
        tune([Sentence("s0", "de", "s", "source", ())], [])
