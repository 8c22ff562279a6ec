from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sentence_folder
import tiny
import torch
from mined import mined
from safetensors.torch import load_file
from torch.nn.functional import normalize

from viaduct.encode.tokens import Limits
from viaduct.errors import UsageError
from viaduct.inference import embed as embedding
from viaduct.inference import prediction
from viaduct.inference.embed import Embedding, checked_layers, embed
from viaduct.inference.predict import PredictWork
from viaduct.metrics.retrieval import bucc_threshold
from viaduct.models.encoder import load_encoder
from viaduct.rows import Pair, Row, Sentence
from viaduct.runs.score import vectors_words
from viaduct.runs.sentence_encoder import makers_of
from viaduct.runs.spec import Retrieval
from viaduct.runs.stage import Context


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
        path.write_bytes(content)  # damaged: everything is done again
        again, left = attempt(tmp_path / "broken", None)
        assert left == batches and torch.equal(again[1], whole[1])
    # Changes to the vectors do not reach the files.
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
    """Words of the language, and the English words at the same index as their translations."""
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
    """Including a language with one sentence; a sentence that is on both sides finds itself."""
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
    """For prediction, sentences are embedded with the chosen one only."""
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
