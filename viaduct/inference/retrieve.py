"""The Predict stage for retrieval (Tatoeba) and mining (BUCC): vectors, a layer, neighbours, margins.

No head and no training: the encoder's states are pooled. A sentence is embedded once per side and split.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import torch

from viaduct.encode.cache import cached
from viaduct.encode.tokens import Limits, encode_sentences
from viaduct.heads.head import named
from viaduct.inference.embed import MAKERS, Embedding, Level, centre, checked_layers, embed
from viaduct.inference.mine import MinedPair, distinct, matches, pairs_by_margin, side_of, translations, tune
from viaduct.inference.neighbours import Search, nearest_both_ways
from viaduct.inference.predict import PredictWork
from viaduct.inference.prediction import TrainedModel, engine_in_place, spent_on, write_predictions
from viaduct.metrics.score import Prediction
from viaduct.models.encoder import load_encoder, load_tokenizer, longest_input, num_layers, width
from viaduct.models.layers import pick_layers
from viaduct.models.numerics import prepare, products_in
from viaduct.models.sentences import SentenceModules
from viaduct.rows import Pair, Sentence
from viaduct.runs.parts import Retrieval
from viaduct.runs.score import VECTORS
from viaduct.runs.sentence_encoder import CHOOSING_LINES
from viaduct.runs.stage import Context, Spent


class SentenceSource(NamedTuple):
    """The place that sentences come from."""

    task: str
    split: str
    language: str


@dataclass(frozen=True)
class Sides:
    """The sentences of one place, and the slices with the vectors of those that are embedded."""

    source: list[Sentence]
    target: list[Sentence]
    source_vectors: slice
    target_vectors: slice


def match_sentences(context: Context, work: PredictWork) -> Spent:
    """Predict every language and write `predictions/LL.jsonl`: the nearest sentence of the other side for each. A layer
    chosen on parallel text is written to `choices.json`."""
    return _Matching(context, work).run()


def mine_pairs(context: Context, work: PredictWork) -> Spent:
    """Predict every language and write `predictions/LL.jsonl`: the pairs that stand out. Choices made on dev (a
    threshold per language, and a layer) are written to `choices.json`."""
    return _Mining(context, work).run()


def _sum(first: Spent, second: Spent) -> Spent:
    """The combined cost of two passes."""
    tokens = first.tokens + second.tokens
    padding = [(one.padding_fraction or 0.0) * one.tokens for one in (first, second)]
    flops, examples = (first.flops or 0.0) + (second.flops or 0.0), first.examples + second.examples
    return Spent(tokens, sum(padding) / tokens if tokens else None, flops, examples, first.precision)


class _SentenceSearch:
    """The sentences of a stage's places, their vectors by layer, and the searches in them."""

    merges_equal_texts: bool
    """Whether repeated texts on a side count as one sentence, rather than each line as its own."""

    def __init__(self, context: Context, work: PredictWork) -> None:
        self.context, self.work, self.how = context, work, work.retrieval or Retrieval()
        self.device = prepare(context.device, context.threads)
        self.tokenizer = load_tokenizer(context.start, context.revision)
        self.encoder = load_encoder(context.start, context.revision).to(self.device).eval()
        self.makers = None if work.makers is None else SentenceModules(work.makers, width(self.encoder)).to(self.device)
        self.prompt = (self.how.prompt if work.makers is None else work.makers.prompt) or ""
        only_makers = self.makers is not None and self.how.layers is None
        self.layers = () if only_makers else checked_layers(self.encoder, self.how.layers)
        self.levels: tuple[Level, ...] = (*self.layers, *((MAKERS,) if self.makers is not None else ()))
        self.top = num_layers(self.encoder)
        self.places: dict[SentenceSource, Sides] = {}
        self.vectors: dict[tuple[SentenceSource, Level], tuple[torch.Tensor, torch.Tensor]] = {}

    def run(self) -> Spent:
        """Embed, make the choices, and write the predictions. If all layers are tried, the rows to predict are only
        embedded in the chosen one: vectors of BUCC's sentences take gigabytes per layer."""
        work, scratch = self.work, self.context.scratch
        scored, choosing = self._wanted()
        if self.how.layers == "all":
            spent = self._embed(choosing, self.levels, scratch / "choosing")
            level, choices = self.choose()
            if left := [one for one in scored if one not in choosing]:
                spent = _sum(spent, self._embed(left, (level,), scratch))
        else:
            spent = self._embed([*scored, *choosing], self.levels, scratch)
            level, choices = self.choose()
        found = (one for language in work.languages for one in self.predictions(level, language))
        write_predictions(self.context.directory / "predictions", work.languages, found)
        for name, about in (("choices.json", choices), (VECTORS, {"words": self._words(level, choices)})):
            if about:
                text = json.dumps(about, indent=1, ensure_ascii=False)
                (self.context.directory / name).write_text(text + "\n", encoding="utf-8")
        return spent

    def _words(self, level: Level, choices: Mapping[str, Any]) -> str:
        """A readable description of how the vectors were made."""
        prompt = f"prompt '{self.prompt}'" if self.prompt else "no prompt"
        words = f"layer {level} of {self.top}, {self.how.pooling} pooling, {prompt}"
        if level == MAKERS and self.work.makers is not None:
            words = f"layer {self.top} of {self.top}, {self.work.makers.words()}"
        chosen = f", the best of {len(self.levels)} on {choices['chosen_on']}" if len(self.levels) > 1 else ""
        return words + ", centred" * self.how.centre + chosen

    def _embed(self, places: Sequence[SentenceSource], levels: Sequence[Level], folder: Path) -> Spent:
        """Embed the sentences of these places and return the cost. `folder` must be used for nothing else: an
        interrupted call resumes from it."""
        context, work, tokenizer, makers = self.context, self.work, self.tokenizer, self.work.makers
        longest = min(work.max_length, longest_input(self.encoder), (makers and makers.max_length) or work.max_length)
        limits = Limits(longest)
        rows = self._read(places)
        context.progress(0, 1, "tokenising")
        encoded = cached(rows, encode_sentences, tokenizer, (), limits, context.cache)
        engine = engine_in_place(context, work, lambda: TrainedModel(self._cut(), None, None, tokenizer, limits))
        layers = tuple(one for one in levels if isinstance(one, int))
        modules = self.makers if MAKERS in levels else None
        embedding = Embedding(layers, self.how.pooling, folder, context.checkpoint_seconds, modules)
        folder.mkdir(exist_ok=True)
        pad_id, progress = tokenizer.pad_token_id, context.progress
        with products_in(work.products, self.device):
            vectors = embed(self.encoder, encoded, pad_id, embedding, progress, engine, lambda at: named(rows[at]))
        for place in dict.fromkeys(places):
            one = self.places[place]
            for level, vectors_ND in vectors.items():
                both = vectors_ND[one.source_vectors], vectors_ND[one.target_vectors]
                for side_ND in both if self.how.centre else ():
                    centre(side_ND)
                self.vectors[place, level] = both
        return spent_on(self.encoder, encoded, len(encoded), work.products)

    def _cut(self) -> torch.nn.Module:
        """The encoder up to the one layer that an engine can return."""
        if self.layers and self.layers[0] != num_layers(self.encoder):
            pick_layers(self.encoder, range(1, self.layers[0] + 1))
        return self.encoder

    def _wanted(self) -> tuple[list[SentenceSource], list[SentenceSource]]:
        """(places of the evaluated split, places to tune on plus the parallel text for choosing a layer)."""
        work, tuned_on = self.work, self.context.task(self.work.task).row_kind.tuned_on
        choosing = [SentenceSource(work.task, split, code) for split in tuned_on for code in work.languages]
        choosing += [SentenceSource(self.how.choose_on, "train", code) for code in work.chosen_in]
        return [SentenceSource(work.task, work.split, code) for code in work.languages], choosing

    def _read(self, places: Sequence[SentenceSource]) -> list[Sentence]:
        """The rows to embed, in the order of the places' slices and with the text that the encoder gets."""
        rows: list[Sentence] = []
        for place in dict.fromkeys(places):
            source, target = _sides(self.context, place)
            if self.how.layers == "all" and place.task == self.how.choose_on and self.work.chosen_in:
                source, target = source[:CHOOSING_LINES], target[:CHOOSING_LINES]
            slices: list[slice] = []
            for one in (source, target):
                start = len(rows)
                rows += [one[at] for at in distinct(one)] if self.merges_equal_texts else one
                slices.append(slice(start, len(rows)))
            self.places[place] = Sides(source, target, *slices)
        if self.work.makers is not None and self.work.makers.lower:
            return [replace(row, text=(self.prompt + row.text).lower()) for row in rows]
        return [replace(row, text=self.prompt + row.text) for row in rows] if self.prompt else rows

    def search(self, place: SentenceSource, layer: Level) -> Search:
        """The search settings, with the stage's memory limit and checkpoint interval."""
        context, path = self.context, self.context.scratch / f"search-{'-'.join(place)}-{layer}.safetensors"
        return Search(context.memory_bytes, self.device, path, context.checkpoint_seconds, context.progress)

    def choose(self) -> tuple[Level, dict[str, Any]]:
        """(layer, content of `choices.json`: what was chosen, and on what)."""
        raise NotImplementedError

    def best_layer(
        self, languages: tuple[str, ...], quality: Callable[[Level, str], float]
    ) -> tuple[Level, dict[str, float]]:
        """(the layer with the highest mean over the languages, the means of all layers). Ties go to the lowest layer,
        and to the makers' modules last."""
        means = {level: fmean(quality(level, code) for code in languages) for level in self.levels}
        best = max(sorted(self.layers) + [one for one in self.levels if one == MAKERS], key=means.__getitem__)
        return best, {str(one): value for one, value in means.items()}

    def predictions(self, layer: Level, language: str) -> list[Prediction]:
        """The predictions for one language."""
        raise NotImplementedError


def _sides(context: Context, place: SentenceSource) -> tuple[list[Sentence], list[Sentence]]:
    """(source sentences, target sentences); a pair of parallel text becomes a sentence on each side, matched by id."""
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
    """Retrieval: the nearest sentence for every sentence."""

    merges_equal_texts = False

    def matched(self, place: SentenceSource, layer: Level) -> list[Prediction]:
        """The nearest sentence of the other side for every English one, then for every one of the other language."""
        one, (source_ND, target_MD) = self.places[place], self.vectors[place, layer]
        of_target, of_source = nearest_both_ways(target_MD, source_ND, 1, self.search(place, layer))
        return matches(one.target, one.source, of_target) + matches(one.source, one.target, of_source)

    def choose(self) -> tuple[Level, dict[str, Any]]:
        """The best layer on parallel text, if there are several."""
        if len(self.levels) == 1:
            return self.levels[0], {}
        layer, means = self.best_layer(self.work.chosen_in, self._accuracy)
        chosen_on = f"{self.how.choose_on} train"
        return layer, {"chosen_on": chosen_on, "layer": layer, "mean_accuracy_by_layer": means}

    def _accuracy(self, layer: Level, language: str) -> float:
        """The share of English sentences in the parallel text whose translation is found."""
        place = SentenceSource(self.how.choose_on, "train", language)
        found = self.matched(place, layer)[: len(self.places[place].target)]
        return fmean(one.id == one.prediction for one in found)

    def predictions(self, layer: Level, language: str) -> list[Prediction]:
        """The matches for the sentences of both sides."""
        return self.matched(SentenceSource(self.work.task, self.work.split, language), layer)


class _Mining(_SentenceSearch):
    """Mining: pairs above a threshold that is tuned on dev."""

    merges_equal_texts = True

    def __init__(self, context: Context, work: PredictWork) -> None:
        super().__init__(context, work)
        self.thresholds: dict[tuple[Level, str], float] = {}

    def mined(self, place: SentenceSource, layer: Level) -> list[MinedPair]:
        """Candidate pairs, best first."""
        one, (source_ND, target_MD) = self.places[place], self.vectors[place, layer]
        return pairs_by_margin(
            side_of(one.source, source_ND), side_of(one.target, target_MD), self.how, self.search(place, layer)
        )

    def choose(self) -> tuple[Level, dict[str, Any]]:
        """A threshold per language, and the best layer on dev if there are several."""
        layer, means = self.best_layer(self.work.languages, self._tuned_f1)
        thresholds = {code: self.thresholds[layer, code] for code in self.work.languages}
        choices: dict[str, Any] = {"chosen_on": f"{self.work.task} dev", "thresholds": thresholds}
        return layer, choices | ({"layer": layer, "mean_f1_by_layer": means} if len(means) > 1 else {})

    def _tuned_f1(self, layer: Level, language: str) -> float:
        """F1 on dev, with the best threshold there, which is stored."""
        dev = SentenceSource(self.work.task, "dev", language)
        self.thresholds[layer, language], f1 = tune(self.places[dev].source, self.mined(dev, layer))
        return f1

    def predictions(self, layer: Level, language: str) -> list[Prediction]:
        """The mined translation of every source sentence."""
        place, threshold = SentenceSource(self.work.task, self.work.split, language), self.thresholds[layer, language]
        return translations(self.places[place].source, self.mined(place, layer), threshold)
