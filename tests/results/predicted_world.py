"""Gold files of a few cards, correct predictions for all their rows, and helpers that score them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from viaduct import api, cli
from viaduct.results.scores import Scores

GOLD = {
    "xnli/test-de.tsv": "Der Tee ist kalt.\tEr wurde heiß serviert.\tneutral\na\tb\tentailment\nc\td\tcontradiction\n",
    "xnli/test-en.tsv": "The tea is cold.\tIt was served hot.\tneutral\na\tb\tentailment\nc\td\tcontradiction\n",
    "panx/test-de.tsv": "Ada\tB-PER\nLovelace\tI-PER\nin\tO\n\nOslo\tB-LOC\n\n",
    "xcopa/data/et/test.et.jsonl": json.dumps(
        {"premise": "p", "choice1": "a", "choice2": "b", "question": "cause", "label": 1, "idx": 4}
    )
    + "\n",
    "tatoeba/v1/tatoeba.deu-eng.deu": "Der Tee ist kalt.\nGuten Tag.\n",
    "tatoeba/v1/tatoeba.deu-eng.eng": "The tea is cold.\nHello.\n",
    "bucc2018/de-en.test.de": "de-1\tDer Tee.\nde-2\tGuten Tag.\n",
    "bucc2018/de-en.test.en": "en-1\tHello.\nen-2\tThe tea.\n",
    "bucc2018/de-en.test.gold": "de-1\ten-2\n",
    "xquad/xquad.de.json": json.dumps(
        {
            "data": [
                {
                    "paragraphs": [
                        {
                            "context": "In Oslo.",
                            "qas": [
                                {"id": "q1", "question": "Wo?", "answers": [{"text": "Oslo", "answer_start": 3}]},
                                {"id": "q2", "question": "Und?", "answers": [{"text": "In", "answer_start": 0}]},
                            ],
                        }
                    ]
                }
            ]
        }
    ),
}

RIGHT: dict[str, dict[str, Any]] = {
    "xnli/de": {"0": "neutral", "1": "entailment", "2": "contradiction"},
    "panx/de": {"0": ["B-PER", "I-PER", "O"], "1": ["B-LOC"]},
    "xcopa/et": {"4": 1},
    "tatoeba/de": {"en-0": "de-0", "en-1": "de-1"},
    "bucc/de": {"de-1": "en-2", "de-2": None},
    "xquad/de": {"q1": "Oslo", "q2": "In"},
}
"""task/language -> id -> the correct prediction."""


def line(name: str, row: str, prediction: Any, **more: Any) -> str:
    return json.dumps({"id": row, "language": name.partition("/")[2], "prediction": prediction} | more) + "\n"


def scored(world: Path, **options: Any) -> Scores:
    return api.score(world / "mine", data=world / "data", partial=True, **options)


def command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Runs `viaduct score` with these arguments and returns its exit status."""
    monkeypatch.setattr(sys, "argv", ["viaduct", "score", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)
