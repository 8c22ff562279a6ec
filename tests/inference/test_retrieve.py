from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentence_folder
import tiny
import torch
from safetensors.torch import load_file
from torch.nn.functional import normalize

from viaduct.encode.tokens import Limits
from viaduct.errors import DataError, UsageError
from viaduct.inference import embed as embedding
from viaduct.inference import neighbours, prediction
from viaduct.inference.embed import Embedding, checked_layers, embed
from viaduct.inference.mine import MinedPair, distinct, matches, pairs_by_margin, side_of, translations, tune
from viaduct.inference.neighbours import Search, nearest_both_ways
from viaduct.inference.predict import PredictWork
from viaduct.metrics.retrieval import bucc_f1, bucc_threshold
from viaduct.metrics.score import Prediction
from viaduct.models.encoder import load_encoder
from viaduct.rows import Pair, Row, Sentence
from viaduct.runs.score import vectors_words
from viaduct.runs.sentence_encoder import makers_of
from viaduct.runs.spec import Retrieval
from viaduct.runs.stage import Context

SIDES = (("source", "zh"), ("target", "en"))


NAMES = {"max": "max", "intersection": "intersect"}
SEARCH = Search(10**9)


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


def mined(rows: list[Sentence], vectors_ND: torch.Tensor, how: Retrieval | None = None) -> list[MinedPair]:
    """The candidates of these rows; repeated texts keep the vector of their last line."""
    sides = []
    for name in ("source", "target"):
        positions = [at for at, row in enumerate(rows) if row.side == name]
        mine_rows = [rows[at] for at in positions]
        sides.append(side_of(mine_rows, vectors_ND[positions][distinct(mine_rows)]))
    return pairs_by_margin(*sides, how or Retrieval(), SEARCH)


@pytest.mark.parametrize("split", ["dev", "test"])
@pytest.mark.parametrize("block", [64, 4096])
@pytest.mark.parametrize("margin", ["ratio", "distance", "absolute"])
@pytest.mark.parametrize("candidates", ["max", "intersection"])
def test_mined_pairs_are_the_official_ones(
    split: str, block: int, margin: str, candidates: str, shared_oracles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The official candidates in their order, less those that its evaluation drops: a text that several ids have."""
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
    """The official search orders by distance, so a vector of zeros is nearer than any with a cosine below 0.5; here
    its cosine is 0. Nothing else differs; a zero vector does not come out of a layer norm.

    Equal vectors are compared in one block: the last bits of a product may depend on where in a block it is."""
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


@pytest.mark.parametrize("pooling", ["mean", "first"])
@pytest.mark.parametrize("layers", [(0,), (1,), (2,), (2, 0)])
def test_vectors_are_the_pooled_states_of_the_layers(
    tiny_tokenizer: Any,
    tiny_encoder: Path,
    pooling: str,
    layers: tuple[int, ...],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    texts = [*tiny.sentences("en"), *tiny.sentences("th")]
    encoded = tiny.encode(
        [Sentence(str(at), "en", text) for at, text in enumerate(texts)], tiny_tokenizer, (), Limits(64)
    )
    model = load_encoder(str(tiny_encoder), None).eval()
    expected: dict[int, list[torch.Tensor]] = {layer: [] for layer in layers}
    for text in texts:
        with torch.inference_mode():
            states = model(**tiny_tokenizer(text, return_tensors="pt"), output_hidden_states=True).hidden_states
        for layer in layers:
            one = states[layer][0]
            expected[layer].append(normalize(one[0] if pooling == "first" else one.mean(dim=0), dim=0))
    monkeypatch.setattr(embedding, "PREDICTION_TOKENS", 64)
    found = embed(model, encoded, 1, Embedding(layers, pooling, tmp_path, 1e9), lambda *_: None)
    assert set(found) == set(layers)
    for layer in layers:
        torch.testing.assert_close(found[layer], torch.stack(expected[layer]), atol=1e-5, rtol=0)
    assert len(model.encoder.layer) == max(layers), "layers above the pooled ones were computed"


def test_embedding_that_was_broken_off_goes_on_where_it_was(
    tiny_tokenizer: Any, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    texts = [*tiny.sentences("en"), *tiny.sentences("th"), *tiny.sentences("de")]
    encoded = tiny.encode(
        [Sentence(str(at), "en", text) for at, text in enumerate(texts)], tiny_tokenizer, (), Limits(64)
    )
    monkeypatch.setattr(embedding, "PREDICTION_TOKENS", 64)

    def attempt(folder: Path, stop_after: int | None) -> tuple[dict[int, torch.Tensor], int]:
        model = load_encoder(str(tiny_encoder), None).eval()
        batches: list[str] = []

        def note(done: float, total: float, words: str) -> None:
            batches.append(words)
            if len(batches) == stop_after:
                raise KeyboardInterrupt

        folder.mkdir(exist_ok=True)
        return embed(model, encoded, 1, Embedding((1, 2), "mean", folder, 0.0), note), len(batches)

    whole, batches = attempt(tmp_path / "whole", None)
    with pytest.raises(KeyboardInterrupt):
        attempt(tmp_path / "broken", 3)
    resumed, left = attempt(tmp_path / "broken", None)
    assert left == batches - 2, "the batch in hand and those before the last saving are done"
    assert all(torch.equal(whole[layer], resumed[layer]) for layer in (1, 2))
    vectors, state = tmp_path / "broken" / "layer-1.f32", tmp_path / "broken" / "embedded.json"
    for path, content in (
        (vectors, vectors.read_bytes()[:-1] + b"!"),
        (vectors, b""),
        (state, b""),
        (state, b"{}"),
        (state, state.read_bytes().replace(b'"batches": ', b'"batches": -')),
    ):
        path.write_bytes(content)  # damaged: all is done again
        again, left = attempt(tmp_path / "broken", None)
        assert left == batches and torch.equal(again[1], whole[1])
    # What is done to the vectors does not reach the files.
    embedding.centre(resumed[1])
    again, left = attempt(tmp_path / "broken", None)
    assert left == 0 and torch.equal(again[1], whole[1])


def test_the_layer_is_two_thirds_up_unless_it_is_named(tiny_tokenizer: Any) -> None:
    model = tiny.encoder(tiny_tokenizer, layers=3)
    assert checked_layers(model, None) == (2,)
    assert checked_layers(model, (0, 3, 0)) == (0, 3)
    with pytest.raises(UsageError, match=r"has layers 0 \(embeddings\) to 3"):
        checked_layers(model, (1, 4))
    with pytest.raises(UsageError, match="no layer to pool"):
        checked_layers(model, ())


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
    languages = tuple(dict.fromkeys(language for language, split in parts if split != "train"))
    how = Retrieval.model_validate({"layers": (1,), "choose_on": "tiny-parallel", **changes})
    chosen_in = tuple(language for language, split in parts if split == "train")
    work = PredictWork(
        task=f"tiny-{kind}",
        languages=languages,
        split="test",
        max_length=64,
        stride=8,
        retrieval=how,
        chosen_in=chosen_in,
    )
    rows = {
        ("tiny-parallel" if split == "train" else f"tiny-{kind}", split, language): part
        for (language, split), part in parts.items()
    }
    return tiny.context(work, folder, rows, encoder=encoder, cards=(tiny.card("retrieval"), tiny.card("mining")))


def lines_of(context: Context, language: str) -> list[dict[str, Any]]:
    text = (context.directory / "predictions" / f"{language}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n") if line]


def test_each_language_is_searched_among_its_own_sentences(tiny_encoder: Path, tmp_path: Path) -> None:
    """Also with a language of one sentence; a sentence that is on both sides finds itself."""
    parts = {("de", "test"): sides("de", 12), ("ru", "test"): sides("ru", 1), ("zh", "test"): sides("zh", 7)}
    context = stage("retrieval", tmp_path, tiny_encoder, parts)
    spent = tiny.run(context)
    assert spent.examples == 2 * (12 + 1 + 7)
    for (language, _), rows in parts.items():
        found = lines_of(context, language)
        english, other = ([row.id for row in rows if row.side == side] for side in ("target", "source"))
        assert [one["id"] for one in found] == [*english, *other]
        assert {one["prediction"] for one in found[: len(english)]} <= set(other)
        assert {one["prediction"] for one in found[len(english) :]} <= set(english)
    winter = tiny.LANGUAGES["en"].index("winter")
    assert lines_of(context, "ru")[0]["prediction"] == "ru-0"
    assert lines_of(context, "de")[winter]["id"] == f"en-{winter}"
    assert not (context.directory / "choices.json").exists()


def test_mining_tunes_its_threshold_on_dev_and_says_so(tiny_encoder: Path, tmp_path: Path) -> None:
    parts = {
        (language, split): sides(language, 12, prefix=split) for language in ("de", "ru") for split in ("test", "dev")
    }
    context = stage("mining", tmp_path, tiny_encoder, parts)
    tiny.run(context)
    choices = json.loads((context.directory / "choices.json").read_text())
    assert set(choices) == {"chosen_on", "thresholds"} and set(choices["thresholds"]) == {"de", "ru"}
    for language in ("de", "ru"):
        threshold = choices["thresholds"][language]
        found = lines_of(context, language)
        assert [one["id"] for one in found] == [f"{language}-test{at}" for at in range(12)]
        for one in found:
            assert (one["prediction"] is None) == ("scores" not in one)
            assert "scores" not in one or one["scores"][0] >= threshold - 1e-5
        # The texts of both splits are the same here, so the dev threshold is also the best one for the test pairs.
        encoder = load_encoder(str(tiny_encoder), None).eval()
        dev = parts[language, "dev"]
        encoded = tiny.encode(dev, prediction.load_tokenizer(str(tiny_encoder), None), (), Limits(64))
        (tmp_path / language).mkdir()  # a folder belongs to one set of sentences
        vectors = embed(encoder, encoded, 1, Embedding((1,), "mean", tmp_path / language, 1e9), lambda *_: None)[1]
        gold = {(row.id, row.match[0]) for row in dev if row.side == "source"}
        assert threshold == pytest.approx(bucc_threshold(mined(dev, vectors), gold).threshold, abs=1e-5)


def test_mining_chooses_the_layer_that_is_best_on_dev(tiny_encoder: Path, tmp_path: Path) -> None:
    parts = {
        (language, split): sides(language, 12, prefix=split) for language in ("de", "ru") for split in ("test", "dev")
    }
    context = stage("mining", tmp_path, tiny_encoder, parts, layers=(0, 1, 2))
    tiny.run(context)
    choices = json.loads((context.directory / "choices.json").read_text())
    by_layer = choices["mean_f1_by_layer"]
    assert set(by_layer) == {"0", "1", "2"}
    assert choices["layer"] == max((0, 1, 2), key=lambda layer: (by_layer[str(layer)], -layer))
    alone = stage("mining", tmp_path / "alone", tiny_encoder, parts, layers=(choices["layer"],))
    tiny.run(alone)
    for language in ("de", "ru"):
        assert lines_of(context, language) == lines_of(alone, language)


def test_retrieval_chooses_its_layer_on_parallel_text(tiny_encoder: Path, tmp_path: Path) -> None:
    words, english = tiny.LANGUAGES["de"], tiny.LANGUAGES["en"]
    pairs: list[Row] = [Pair(str(at), "de", english[at], words[at], None) for at in range(12)]
    parts = {("de", "test"): sides("de", 12), ("de", "train"): pairs}
    context = stage("retrieval", tmp_path, tiny_encoder, parts, layers=(0, 2), centre=True)
    tiny.run(context)
    choices = json.loads((context.directory / "choices.json").read_text())
    assert choices["chosen_on"] == "tiny-parallel train"
    # The parallel text is the test text here, so the accuracy of the chosen layer is that of the predictions.
    gold = {row.id: row.match for row in parts["de", "test"] if isinstance(row, Sentence) and row.side == "target"}
    right = [one["prediction"] in gold[one["id"]] for one in lines_of(context, "de") if one["id"] in gold]
    assert sum(right) / 12 == pytest.approx(choices["mean_accuracy_by_layer"][str(choices["layer"])])


def test_a_sentence_encoder_is_used_as_its_makers_mean_it(
    tiny_tokenizer: Any, tiny_encoder: Path, tmp_path: Path
) -> None:
    folder = sentence_folder.write(tmp_path / "st", width=32, pooling=("cls_token",), dense=8, prompts={"query": "A: "})
    (folder / "sentence_bert_config.json").write_text('{"do_lower_case": true, "max_seq_length": 9}')
    makers = makers_of(str(folder), None)
    parts = {("de", "test"): sides("de", 12)}
    context = stage("retrieval", tmp_path, tiny_encoder, parts, layers=None)
    work = context.work.model_copy(update={"makers": makers})
    tiny.run(replace(context, work=work))
    rows = [row for row in parts["de", "test"] if isinstance(row, Sentence)]
    state = load_file(folder / "2_Dense" / "model.safetensors")
    model, vectors = load_encoder(str(tiny_encoder), None).eval(), {}
    for row in rows:
        tokens = tiny_tokenizer(f"a: {row.text.lower()}", truncation=True, max_length=9, return_tensors="pt")
        with torch.inference_mode():
            first_D = model(**tokens).last_hidden_state[0, 0]
        dense_E = torch.tanh(state["linear.weight"] @ first_D + state["linear.bias"])
        vectors[row.id] = normalize(dense_E, dim=0)
    for one in lines_of(context, "de"):
        others = [row.id for row in rows if row.side != ("source" if one["id"].startswith("de") else "target")]
        likeness = {other: float(vectors[one["id"]] @ vectors[other]) for other in others}
        assert likeness[one["prediction"]] >= max(likeness.values()) - 1e-5
    words = json.loads((context.directory / "vectors.json").read_text())["words"]
    modules = "the makers' modules: first pooling, 1 dense module, normalised, prompt 'A: '"
    assert words == f"layer 2 of 2, {modules}"
    assert vectors_words(context.directory) == f"|vectors: {words}", "which is what signatures say"


def test_the_makers_modules_are_one_choice_among_all_layers(tiny_encoder: Path, tmp_path: Path) -> None:
    """And what is predicted is embedded in the chosen one alone."""
    makers = makers_of(str(sentence_folder.write(tmp_path / "st", width=32, dense=8)), None)
    parts = {(language, split): sides(language, 12, prefix=split) for language in ("de",) for split in ("test", "dev")}
    context = stage("mining", tmp_path, tiny_encoder, parts, layers="all")
    spent = tiny.run(replace(context, work=context.work.model_copy(update={"makers": makers})))
    choices = json.loads((context.directory / "choices.json").read_text())
    means = choices["mean_f1_by_layer"]
    assert list(means) == ["0", "1", "2", "makers"] and means[str(choices["layer"])] == max(means.values())
    words = json.loads((context.directory / "vectors.json").read_text())["words"]
    assert words.endswith(", the best of 4 on tiny-mining dev")
    assert len(list((context.scratch / "choosing").glob("*.f32"))) == 4
    assert [path.stem for path in context.scratch.glob("*.f32")] == [f"layer-{choices['layer']}"]
    assert spent.examples == 2 * 2 * 12
    alone = stage("mining", tmp_path / "alone", tiny_encoder, parts, layers=(0, 1, 2))
    tiny.run(alone)
    assert json.loads((alone.directory / "choices.json").read_text())["mean_f1_by_layer"].items() <= means.items()


def test_a_prompt_stands_before_every_sentence(tiny_encoder: Path, tmp_path: Path) -> None:
    parts = {("de", "test"): sides("de", 12)}
    said = {("de", "test"): [replace(row, text=f"red: {row.text}") for row in sides("de", 12)]}
    prompted = stage("retrieval", tmp_path / "prompt", tiny_encoder, parts, prompt="red: ")
    written = stage("retrieval", tmp_path / "written", tiny_encoder, said)
    for one in (prompted, written):
        tiny.run(one)
    assert lines_of(prompted, "de") == lines_of(written, "de")
    words = [json.loads((one.directory / "vectors.json").read_text())["words"] for one in (prompted, written)]
    assert words == [f"layer 1 of 2, mean pooling, {prompt}" for prompt in ("prompt 'red: '", "no prompt")]


def test_centring_takes_away_what_tells_the_sides_apart() -> None:
    torch.manual_seed(0)
    meaning_ND = normalize(torch.randn(6, 16), dim=1)
    offset_D = 3 * normalize(torch.randn(16), dim=0)
    source_ND, target_ND = (normalize(meaning_ND + sign * offset_D, dim=1) for sign in (1, -1))
    for part_ND in (source_ND, target_ND):
        embedding.centre(part_ND)
    torch.testing.assert_close(source_ND.norm(dim=1), torch.ones(6))
    assert (target_ND @ source_ND.T).argmax(dim=1).tolist() == list(range(6))
