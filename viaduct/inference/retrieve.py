"""What the Predict stage does for retrieval (Tatoeba) and mining (BUCC): vectors, a layer, neighbours, margins.

No head and no training: the encoder's states are pooled. A sentence is embedded once per side and split.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import torch

from viaduct.encode.batch import padding_fraction, plan_batches
from viaduct.encode.cache import cached
from viaduct.encode.tokens import Encoded, Limits, encode_sentences
from viaduct.inference.embed import BATCH_TOKENS, Embedding, centre, checked_layers, embed
from viaduct.inference.mine import Candidate, distinct, match_lines, mine, mined_lines, side_of, tune
from viaduct.inference.neighbours import Search, nearest_both_ways
from viaduct.inference.predict import PredictWork
from viaduct.models.encoder import (
    forward_flops,
    load_encoder,
    load_tokenizer,
    longest_input,
    num_layers,
    pick_layers,
)
from viaduct.models.numerics import prepare
from viaduct.rows import Pair, Sentence
from viaduct.runs.field import predictor
from viaduct.runs.parts import Retrieval
from viaduct.runs.stage import Context, Spent
from viaduct.serving.model import InferenceModel, LoadedModel
from viaduct.tasks.card import Task


class Place(NamedTuple):
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


def run(context: Context, work: PredictWork) -> Spent:
    """Predict every language and leave `predictions/LL.jsonl`; what was chosen on dev is left in `choices.json`."""
    card, how = context.task(work.task), work.retrieval or Retrieval()
    device = prepare(context.device, context.threads)
    tokenizer = load_tokenizer(context.start, context.revision)
    encoder = load_encoder(context.start, context.revision).to(device).eval()
    layers = checked_layers(encoder, how.layers)
    limits = Limits(min(work.max_length, longest_input(encoder)))
    places, rows = _sides(context, card, work, how)
    context.progress(0, 1, "tokenising")
    encoded = cached(rows, encode_sentences, tokenizer, (), limits, context.cache)
    engine = None
    in_its_place = predictor(work)
    if in_its_place is not None:
        if layers[0] != num_layers(encoder):
            pick_layers(encoder, range(1, layers[0] + 1))
        source = LoadedModel(InferenceModel(encoder, None).eval(), None, tokenizer)
        engine = in_its_place(source, context, work, limits)
    embedding = Embedding(layers, how.pooling, context.scratch, context.checkpoint_seconds)
    vectors = embed(encoder, encoded, tokenizer.pad_token_id, embedding, context.progress, engine)
    if how.centre:
        for vectors_ND in vectors.values():
            for one in places.values():
                centre(vectors_ND[one.source_vectors])
                centre(vectors_ND[one.target_vectors])

    searching = _Searching(context, places, vectors, how, device)
    folder = context.directory / "predictions"
    folder.mkdir(parents=True, exist_ok=True)
    choices, lines_of = (_mined if card.kind == "mining" else _matched)(searching, work)
    for language in work.languages:
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines_of(language))
        (folder / f"{language}.jsonl").write_text(text, encoding="utf-8")
    if choices:
        (context.directory / "choices.json").write_text(json.dumps(choices, indent=1) + "\n", encoding="utf-8")
    return _spent(encoder, encoded)


def _sides(
    context: Context, card: Task, work: PredictWork, how: Retrieval
) -> tuple[dict[Place, Sides], list[Sentence]]:
    """All places, and the rows to embed in the order of their slices."""
    wanted = [Place(card.name, work.split, language) for language in work.languages]
    if card.kind == "mining" and work.split != "dev":
        wanted += [Place(card.name, "dev", language) for language in work.languages]
    wanted += [Place(how.choose_on, "train", language) for language in work.chosen_in]
    places: dict[Place, Sides] = {}
    rows: list[Sentence] = []
    for place in wanted:
        source, target = _read(context, place)
        slices: list[slice] = []
        for one in (source, target):
            # A text that a mining side has several times is one sentence there; in retrieval each line is its own.
            start = len(rows)
            rows += [one[at] for at in distinct(one)] if card.kind == "mining" else one
            slices.append(slice(start, len(rows)))
        places[place] = Sides(source, target, *slices)
    return places, rows


def _read(context: Context, place: Place) -> tuple[list[Sentence], list[Sentence]]:
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


@dataclass(frozen=True)
class _Searching:
    """Vectors by place and layer, and the searches in them."""

    context: Context
    places: Mapping[Place, Sides]
    vectors: Mapping[int, torch.Tensor]
    how: Retrieval
    device: torch.device

    @property
    def layers(self) -> list[int]:
        """Those that were pooled."""
        return list(self.vectors)

    def both(self, place: Place, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The vectors of the source and of the target side."""
        one = self.places[place]
        return self.vectors[layer][one.source_vectors], self.vectors[layer][one.target_vectors]

    def search(self, place: Place, layer: int) -> Search:
        """Bounded and saved as the stage is."""
        path = self.context.scratch / f"search-{'-'.join(place)}-{layer}.safetensors"
        context = self.context
        return Search(context.memory_bytes, self.device, path, context.checkpoint_seconds, context.progress)

    def mined(self, place: Place, layer: int) -> list[Candidate]:
        """Candidate pairs, best first."""
        one, (source_ND, target_MD) = self.places[place], self.both(place, layer)
        return mine(side_of(one.source, source_ND), side_of(one.target, target_MD), self.how, self.search(place, layer))

    def matched(self, place: Place, layer: int) -> list[dict[str, Any]]:
        """The nearest sentence of the other side for every English one, then for every one of the other language."""
        one, (source_ND, target_MD) = self.places[place], self.both(place, layer)
        of_target, of_source = nearest_both_ways(target_MD, source_ND, 1, self.search(place, layer))
        return match_lines(one.target, one.source, of_target) + match_lines(one.source, one.target, of_source)


Lines = Callable[[str], list[dict[str, Any]]]


def _mined(searching: _Searching, work: PredictWork) -> tuple[dict[str, Any], Lines]:
    """What was chosen on dev (a layer, and a threshold per language), and the lines of a language."""
    tuned: dict[int, dict[str, tuple[float, float]]] = {}
    for layer in searching.layers:
        tuned[layer] = {}
        for language in work.languages:
            dev = Place(work.task, "dev", language)
            tuned[layer][language] = tune(searching.places[dev].source, searching.mined(dev, layer))
    means = {layer: fmean(f1 for _, f1 in found.values()) for layer, found in tuned.items()}
    layer = max(means, key=lambda one: (means[one], -one))
    thresholds = {language: threshold for language, (threshold, _) in tuned[layer].items()}
    choices: dict[str, Any] = {"chosen_on": f"{work.task} dev", "thresholds": thresholds}
    if len(means) > 1:
        choices |= {"layer": layer, "mean_f1_by_layer": {str(one): value for one, value in means.items()}}

    def lines(language: str) -> list[dict[str, Any]]:
        place = Place(work.task, work.split, language)
        return mined_lines(searching.places[place].source, searching.mined(place, layer), thresholds[language])

    return choices, lines


def _matched(searching: _Searching, work: PredictWork) -> tuple[dict[str, Any], Lines]:
    """What was chosen (a layer, where there are several), and the lines of a language."""
    layer, choices = searching.layers[0], {}
    if len(searching.layers) > 1:
        means = {
            one: fmean(_accuracy(searching, one, code, work) for code in work.chosen_in) for one in searching.layers
        }
        layer = max(means, key=lambda one: (means[one], -one))
        choices = {
            "chosen_on": f"{searching.how.choose_on} train",
            "layer": layer,
            "mean_accuracy_by_layer": {str(one): value for one, value in means.items()},
        }
    return choices, lambda language: searching.matched(Place(work.task, work.split, language), layer)


def _accuracy(searching: _Searching, layer: int, language: str, work: PredictWork) -> float:
    """Of English sentences of the parallel text that find their translation."""
    place = Place(searching.how.choose_on, "train", language)
    found = searching.matched(place, layer)[: len(searching.places[place].target)]
    return fmean(line["id"] == line["prediction"] for line in found)


def _spent(encoder: torch.nn.Module, encoded: Encoded) -> Spent:
    lengths = np.diff(encoded.offsets).astype(np.int64)
    batches = plan_batches(encoded.lengths, encoded.widths, BATCH_TOKENS, None)
    return Spent(
        tokens=int(lengths.sum()),
        padding_fraction=padding_fraction(encoded.lengths, encoded.widths, batches),
        flops=forward_flops(encoder, int(lengths.sum()), int((lengths**2).sum())),
        examples=len(encoded),
    )
