"""The metadata of an exported model's card, as the Hub's own library reads it back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
from huggingface_hub import ModelCard
from small_world import add_cards

from viaduct.serving.export import ExportSettings, export
from viaduct.serving.history import History
from viaduct.serving.metadata import metadata


def score(task: str, language: str, n: int, **changes: Any) -> dict[str, Any]:
    made = {"metric": "accuracy", "value": 0.71234567, "n": n, "n_missing": 0, "split": "test"}
    return {"task": task, "language": language, **made, **changes}


def card(*scores: dict[str, Any], is_source: bool = True) -> tuple[Any, str]:
    """(the metadata as read back, what was left out)."""
    known = History("base/none/xnli/seed-1/train", scores=scores)
    text, left = metadata(known, "text-classification", "transformers", is_source=is_source)
    return ModelCard(f"---\n{text}\n---\n# A model\n").data, left


def test_scores_of_whole_published_splits_are_a_model_index() -> None:
    found, left = card(
        score("xnli", "de", 5010),
        score("panx", "de", 10_000, metric="f1"),
        score("xquad", "de", 1190, metric="exact_match"),
        score("tatoeba", "de", 1000),
        score("bucc", "de", 9580, metric="f1"),
    )
    assert found.model_name == "base/none/xnli/seed-1/train" and found.library_name == "transformers"
    one, tags, answers, pairs, mined = found.eval_results
    assert one.dataset_name == "XNLI (German)"
    assert (one.task_type, one.dataset_type, one.dataset_config, one.dataset_split) == (
        "text-classification", "facebook/xnli", "de", "test",
    )  # fmt: skip
    assert (one.metric_type, one.metric_value, one.verified) == ("accuracy", 0.712346, None)
    assert (tags.task_type, tags.dataset_type, tags.dataset_config) == (
        "token-classification", "google/xtreme", "PAN-X.de",
    )  # fmt: skip
    assert (answers.task_type, answers.dataset_config, answers.dataset_split) == (
        "question-answering", "xquad.de", "validation",
    )  # fmt: skip
    assert (pairs.task_type, pairs.dataset_config) == ("sentence-similarity", "tatoeba.deu")
    assert (mined.dataset_type, mined.dataset_config) == ("bucc", "de") and left == ""


def test_stand_ins_and_parts_of_splits_are_left_out_and_said() -> None:
    found, left = card(
        score("xnli", "de", 2490, split="dev in place of test"),
        score("xnli", "fr", 100),
        score("replies", "de", 8),
        score("xnli", "sw", 5010),
    )
    assert [one.dataset_config for one in found.eval_results] == ["sw"]
    assert left == (
        "Not in this card's metadata, for they are not of a whole published split: "
        "xnli dev in place of test in de, xnli test in fr, replies test in de."
    )
    whole = card(score("xnli", "de", 5010), is_source=False)
    assert whole[0].eval_results is None and whole[1].startswith("None of them is in this card's metadata")
    assert card()[0].to_dict() == {"pipeline_tag": "text-classification", "library_name": "transformers"}


def test_the_card_of_an_export_is_read_back(
    trained_pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = replace(tiny.CARDS["pair"], expected={("en", "test"): 24})
    add_cards(monkeypatch.setattr, [own])
    for name, layers in (("whole", None), ("cut", 1)):
        export(trained_pairs, tmp_path / name, ExportSettings("transformers", layers=layers))
    whole, cut = (ModelCard.load(tmp_path / name / "README.md") for name in ("whole", "cut"))
    (one,) = whole.data.eval_results
    assert (one.dataset_type, one.dataset_config, one.dataset_split) == (own.name, "en", "test")
    assert (one.metric_type, one.metric_value, whole.data.pipeline_tag) == ("accuracy", 0.875, "text-classification")
    assert "metadata" not in whole.text and whole.data.model_name == "tiny/none/tiny-pair/seed-1/train"
    assert cut.data.eval_results is None and "not the whole model in float32" in cut.text
