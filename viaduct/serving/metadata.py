"""The metadata at the head of a model card, with the model's scores as the `model-index` that the Hub reads."""

from __future__ import annotations

from typing import Any

from viaduct.languages import language
from viaduct.serving.history import History, StoredJson
from viaduct.tasks.card import Task, patterns
from viaduct.tasks.catalogue import Catalogue

TYPES = {
    "pair": "text-classification",
    "classification": "text-classification",
    "tagged": "token-classification",
    "span": "question-answering",
    "choice": "multiple-choice",
}
"""Kind of rows -> the Hub's task type; for other kinds, which compare sentences, it is "sentence-similarity"."""
GENERIC = ("data", "default", "plain_text")
"""Folders of Hub datasets that are not a configuration per language."""


def metadata(known: History, tag: str, library: str, *, is_source: bool) -> tuple[str, str]:
    """(YAML without its delimiter lines; what is left out of it and why, "" if nothing is).

    It contains the scores on whole published splits, and none if the export is not the model that was scored
    (`is_source` is False), because it was cut or computes differently.
    """
    from huggingface_hub import EvalResult, ModelCardData  # slow to load

    catalogue = Catalogue.builtin()
    official, left = [], []
    for one in known.scores if is_source else ():
        card = catalogue.task(one["task"]) if one["task"] in catalogue else None
        if card is not None and card.is_whole(one["language"], one["split"], one["n"]):
            official.append(EvalResult(**_result(card, one)))
        else:
            left.append(f"{one['task']} {one['split']} in {one['language']}")
    index = {"model_name": known.name, "eval_results": official} if official else {}
    made = ModelCardData(pipeline_tag=tag or None, library_name=library, **index)
    why = ""
    if known.scores and not is_source:
        why = "None of them is in this card's metadata: this export is not the whole model in float32."
    elif left:
        named = ", ".join(dict.fromkeys(left))
        why = f"Not in this card's metadata, for they are not of a whole published split: {named}."
    return made.to_yaml(), why


def _result(card: Task, score: StoredJson) -> dict[str, Any]:
    """A score in the Hub's terms; for a dataset on the Hub, with its name, configuration and split there."""
    code, split = score["language"], score["split"]
    name, config = card.name, code
    for source in card.sources:
        if source.hub is not None and (places := patterns(source, code, split)):
            folder = next(iter(places.values())).partition("/")[0]
            name, config, split = source.hub.repository, code if folder in GENERIC else folder, source.splits[split]
            break
    return {
        "task_type": TYPES.get(card.kind, "sentence-similarity"),
        "dataset_type": name,
        "dataset_name": f"{card.title} ({language(code).name})",
        "dataset_config": config,
        "dataset_split": split,
        "metric_type": score["metric"],
        "metric_value": round(score["value"], 6),
    }
