"""What the Predict stage does for retrieval (Tatoeba) and mining (BUCC): vectors, a layer, neighbours, margins.

No head and no training: the encoder's states are pooled. A sentence is embedded once per side and split.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean
from typing import Any, NamedTuple

import torch

from viaduct.encode.cache import cached
from viaduct.encode.tokens import Limits, encode_sentences
from viaduct.heads.head import named
from viaduct.inference.embed import Embedding, centre, checked_layers, embed
from viaduct.inference.mine import MinedPair, distinct, matches, pairs_by_margin, side_of, translations, tune
from viaduct.inference.neighbours import Search, nearest_both_ways
from viaduct.inference.predict import PredictWork
from viaduct.inference.prediction import TrainedModel, engine_in_place, spent_on, write_predictions
from viaduct.metrics.score import Prediction
from viaduct.models.encoder import load_encoder, load_tokenizer, longest_input, num_layers, pick_layers
from viaduct.models.numerics import prepare
from viaduct.rows import Pair, Sentence
from viaduct.runs.parts import Retrieval
from viaduct.runs.stage import Context, Spent


class SentenceSource(NamedTuple):
    """Where sentences come from."""

    task: str
    split: str
    language: str


@dataclass(frozen=True)
class Sides:
    """The sentences of one place, and where the vectors of those that are embedded lie."""

    source: list[Sentence]
    target: list[Sentence]
    source_vectors: slice
    target_vectors: slice


def match_sentences(context: Context, work: PredictWork) -> Spent:
    """Predict every language and leave `predictions/LL.jsonl`: the nearest sentence of the other side for each; a layer
    that was chosen on parallel text is left in `choices.json`."""
    return _Matching(context, work).run()


def mine_pairs(context: Context, work: PredictWork) -> Spent:
    """Predict every language and leave `predictions/LL.jsonl`: the pairs that stand out; what was chosen on dev (a
    threshold per language, and a layer) is left in `choices.json`."""
    return _Mining(context, work).run()


class _SentenceSearch:
    """The sentences of a stage's places, their vectors by layer, and what is searched in them."""

    merges_equal_texts: bool
    """Whether a text that a side has several times is one sentence there, or each line its own."""

    def __init__(self, context: Context, work: PredictWork) -> None:
        self.context, self.work, self.how = context, work, work.retrieval or Retrieval()
        self.device = prepare(context.device, context.threads)
        self.tokenizer = load_tokenizer(context.start, context.revision)
        self.encoder = load_encoder(context.start, context.revision).to(self.device).eval()
        self.layers = checked_layers(self.encoder, self.how.layers)
        self.places: dict[SentenceSource, Sides] = {}
        self.vectors: dict[int, torch.Tensor] = {}

    def run(self) -> Spent:
        """Embed, choose what is to be chosen, and write the predictions."""
        context, work, tokenizer = self.context, self.work, self.tokenizer
        limits = Limits(min(work.max_length, longest_input(self.encoder)))
        rows = self._read()
        context.progress(0, 1, "tokenising")
        encoded = cached(rows, encode_sentences, tokenizer, (), limits, context.cache)
        engine = engine_in_place(context, work, lambda: TrainedModel(self._cut(), None, None, tokenizer, limits))
        embedding = Embedding(self.layers, self.how.pooling, context.scratch, context.checkpoint_seconds)
        pad_id, progress = tokenizer.pad_token_id, context.progress
        self.vectors = embed(self.encoder, encoded, pad_id, embedding, progress, engine, lambda at: named(rows[at]))
        if self.how.centre:
            for vectors_ND in self.vectors.values():
                for one in self.places.values():
                    centre(vectors_ND[one.source_vectors])
                    centre(vectors_ND[one.target_vectors])
        layer, choices = self.choose()
        found = (one for language in work.languages for one in self.predictions(layer, language))
        write_predictions(context.directory / "predictions", work.languages, found)
        if choices:
            (context.directory / "choices.json").write_text(json.dumps(choices, indent=1) + "\n", encoding="utf-8")
        return spent_on(self.encoder, encoded, len(encoded))

    def _cut(self) -> torch.nn.Module:
        """The encoder up to the one layer that an engine can give."""
        if self.layers[0] != num_layers(self.encoder):
            pick_layers(self.encoder, range(1, self.layers[0] + 1))
        return self.encoder

    def _read(self) -> list[Sentence]:
        """The rows to embed, in the order of the places' slices: the split itself, what it is tuned on, and the
        parallel text that a layer is chosen on."""
        work, tuned_on = self.work, self.context.task(self.work.task).row_kind.tuned_on
        wanted = [
            SentenceSource(work.task, split, code) for split in (work.split, *tuned_on) for code in work.languages
        ]
        wanted += [SentenceSource(self.how.choose_on, "train", code) for code in work.chosen_in]
        rows: list[Sentence] = []
        for place in dict.fromkeys(wanted):
            source, target = _sides(self.context, place)
            slices: list[slice] = []
            for one in (source, target):
                start = len(rows)
                rows += [one[at] for at in distinct(one)] if self.merges_equal_texts else one
                slices.append(slice(start, len(rows)))
            self.places[place] = Sides(source, target, *slices)
        return rows

    def both(self, place: SentenceSource, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The vectors of the source and of the target side."""
        one = self.places[place]
        return self.vectors[layer][one.source_vectors], self.vectors[layer][one.target_vectors]

    def search(self, place: SentenceSource, layer: int) -> Search:
        """Bounded and saved as the stage is."""
        context, path = self.context, self.context.scratch / f"search-{'-'.join(place)}-{layer}.safetensors"
        return Search(context.memory_bytes, self.device, path, context.checkpoint_seconds, context.progress)

    def choose(self) -> tuple[int, dict[str, Any]]:
        """(layer, what was chosen and on what, for `choices.json`)."""
        raise NotImplementedError

    def best_layer(
        self, languages: tuple[str, ...], quality: Callable[[int, str], float]
    ) -> tuple[int, dict[str, float]]:
        """(the layer with the highest mean over the languages, the lowest of equal ones; all layers' means)."""
        means = {layer: fmean(quality(layer, code) for code in languages) for layer in self.layers}
        return max(means, key=lambda one: (means[one], -one)), {str(one): value for one, value in means.items()}

    def predictions(self, layer: int, language: str) -> list[Prediction]:
        """Those of a language."""
        raise NotImplementedError


def _sides(context: Context, place: SentenceSource) -> tuple[list[Sentence], list[Sentence]]:
    """Both sides' sentences; a pair of parallel text becomes a sentence on each, matched by its id."""
    found = context.load(*place).rows
    if found and isinstance(found[0], Pair):
        pairs = [row for row in found if isinstance(row, Pair)]
        return (
            [Sentence(row.id, row.language, row.second, "source", (row.id,)) for row in pairs],
            [Sentence(row.id, row.language, row.first, "target", (row.id,)) for row in pairs],
        )
    rows = [row for row in found if isinstance(row, Sentence)]
    return [row for row in rows if row.side == "source"], [row for row in rows if row.side == "target"]


class _Matching(_SentenceSearch):
    """Retrieval: every sentence's nearest one."""

    merges_equal_texts = False

    def matched(self, place: SentenceSource, layer: int) -> list[Prediction]:
        """The nearest sentence of the other side for every English one, then for every one of the other language."""
        one, (source_ND, target_MD) = self.places[place], self.both(place, layer)
        of_target, of_source = nearest_both_ways(target_MD, source_ND, 1, self.search(place, layer))
        return matches(one.target, one.source, of_target) + matches(one.source, one.target, of_source)

    def choose(self) -> tuple[int, dict[str, Any]]:
        """The layer that is best on parallel text, where there are several."""
        if len(self.layers) == 1:
            return self.layers[0], {}
        layer, means = self.best_layer(self.work.chosen_in, self._accuracy)
        chosen_on = f"{self.how.choose_on} train"
        return layer, {"chosen_on": chosen_on, "layer": layer, "mean_accuracy_by_layer": means}

    def _accuracy(self, layer: int, language: str) -> float:
        """Of English sentences of the parallel text that find their translation."""
        place = SentenceSource(self.how.choose_on, "train", language)
        found = self.matched(place, layer)[: len(self.places[place].target)]
        return fmean(one.id == one.prediction for one in found)

    def predictions(self, layer: int, language: str) -> list[Prediction]:
        """The matches of both sides."""
        return self.matched(SentenceSource(self.work.task, self.work.split, language), layer)


class _Mining(_SentenceSearch):
    """Mining: pairs above a threshold that is tuned on dev."""

    merges_equal_texts = True

    def __init__(self, context: Context, work: PredictWork) -> None:
        super().__init__(context, work)
        self.thresholds: dict[tuple[int, str], float] = {}

    def mined(self, place: SentenceSource, layer: int) -> list[MinedPair]:
        """Candidate pairs, best first."""
        one, (source_ND, target_MD) = self.places[place], self.both(place, layer)
        return pairs_by_margin(
            side_of(one.source, source_ND), side_of(one.target, target_MD), self.how, self.search(place, layer)
        )

    def choose(self) -> tuple[int, dict[str, Any]]:
        """A threshold per language, and the layer that is best on dev where there are several."""
        layer, means = self.best_layer(self.work.languages, self._tuned_f1)
        thresholds = {code: self.thresholds[layer, code] for code in self.work.languages}
        choices: dict[str, Any] = {"chosen_on": f"{self.work.task} dev", "thresholds": thresholds}
        return layer, choices | ({"layer": layer, "mean_f1_by_layer": means} if len(means) > 1 else {})

    def _tuned_f1(self, layer: int, language: str) -> float:
        """On dev, with the threshold that is best there."""
        dev = SentenceSource(self.work.task, "dev", language)
        self.thresholds[layer, language], f1 = tune(self.places[dev].source, self.mined(dev, layer))
        return f1

    def predictions(self, layer: int, language: str) -> list[Prediction]:
        """The mined translation of every source sentence."""
        place, threshold = SentenceSource(self.work.task, self.work.split, language), self.thresholds[layer, language]
        return translations(self.places[place].source, self.mined(place, layer), threshold)
