"""A mapping file that is wrong itself, whatever its data: the message for each possible mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mapping_files import PAIR, card

from viaduct.errors import UsageError
from viaduct.tasks.catalogue import Catalogue

WRONG_MAPPINGS = [
    ({"kind": "pairs"}, r"kind: 'pairs' was given; input should be 'pair', 'choice'"),
    ({"name": None}, "the field 'name' is missing"),
    ({"langauges": ["en"]}, "unknown field 'langauges'; did you mean 'languages'"),
    ({"columns": {**PAIR["columns"], "fist": "x"}}, "unknown field 'columns.fist'; did you mean 'first'"),
    ({"columns": {"first": "a", "label": "b"}}, "kind 'pair' needs second under"),
    ({"columns": {**PAIR["columns"], "tokens": "x"}}, "kind 'pair' has no use for tokens"),
    ({"labels": None}, "kind 'pair' needs labels.order"),
    ({"labels": {"order": ["a", "a"]}}, "label 'a' appears twice in labels.order"),
    ({"labels": {"order": ["a"], "rename": {"0": "b"}}}, "'0' becomes 'b', which is not in labels.order"),
    ({"languages": ["xx"]}, "unknown language 'xx'"),
    ({"languages": []}, "languages: .* was given"),
    ({"languages": ["en", "de"]}, "2 languages, but neither `path` nor a column tells them apart"),
    ({"path": "files/{part}.jsonl"}, "has an unknown {part}"),
    ({"path": "files/all.jsonl"}, "has no {split}, but there are 3 splits"),
    ({"path": "/files/{split}.jsonl"}, "leaves the data folder"),
    ({"path": "../{split}.jsonl"}, "leaves the data folder"),
    ({"path": "files/{split}.json"}, "does not end like a known format"),
    ({"metric": "f1"}, "kind 'pair' has no metric 'f1'"),
    ({"splits": {"dev": "validation"}}, 'has dev = "validation" but lacks train and test'),
    ({"splits": {"train": "", "dev": "", "test": ""}}, "has no split"),
    ({"splits": {"training": "x"}}, "splits.training.*: .*'train', 'dev' or 'test'"),
    ({"revision": "main"}, "revision: 'main' was given"),
    ({"name": "My NLI"}, "name: 'My NLI' was given"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG_MAPPINGS)
def test_a_wrong_mapping_is_explained(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        card(tmp_path, **changes)


def test_files_that_are_neither_toml_nor_yaml_nor_a_mapping(tmp_path: Path) -> None:
    for name, content, message in (
        ("a.toml", "name = \n", "not TOML: .*line 1"),
        ("a.yaml", "a: [\n", "line 2: not YAML"),
        ("a.yml", "- a\n", "consists of fields"),
        ("a.json", "{}", "is not a card file"),
    ):
        (tmp_path / name).write_text(content, encoding="utf-8")
        with pytest.raises(UsageError, match=message):
            Catalogue.builtin().with_files([str(tmp_path / name)])
    with pytest.raises(UsageError, match="there is no card file"):
        Catalogue.builtin().with_files([str(tmp_path / "none.toml")])


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    card(tmp_path, name="xnli")
    with pytest.raises(UsageError, match="the name 'xnli' is taken"):
        Catalogue.builtin().with_files([str(tmp_path / "mine.yaml")])
