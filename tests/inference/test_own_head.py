"""`viaduct evaluate MODEL --own-head`: a finished model's own head, matched by its label names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer
from typer.testing import CliRunner

from viaduct import cli
from viaduct.errors import UsageError, ViaductError
from viaduct.runs.own_head import label_pairs

XNLI = ("entailment", "neutral", "contradiction")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    lines = ["language\tgold_label\tsentence1\tsentence2\tpairID"]
    for code in ("en", "de"):
        words = tiny.LANGUAGES[code]
        lines += [f"{code}\t{XNLI[at % 3]}\t{words[at]} .\t{words[at + 3]} {words[at]}\t{at}" for at in range(8)]
    (folder / "XNLI-1.0").mkdir()
    (folder / "XNLI-1.0" / "xnli.test.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def finished(folder: Path, encoder: Path, labels: tuple[str, ...] | None) -> Path:
    config = AutoConfig.from_pretrained(encoder)
    config.num_labels = 3
    if labels:
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: number for number, label in enumerate(labels)}
    torch.manual_seed(3)
    model = AutoModelForSequenceClassification.from_config(config)
    model.base_model.load_state_dict(AutoModel.from_pretrained(encoder).state_dict(), strict=False)
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    with torch.no_grad():  # a head sensitive to small differences, so that answers differ
        words = tiny.LANGUAGES["en"]
        pairs = [(f"{words[at]} .", f"{words[at + 3]} {words[at]}") for at in range(8)]
        texts = tokenizer(pairs, return_tensors="pt", padding=True)
        first_BD = model.eval().base_model(**texts).last_hidden_state[:, 0]
        model.classifier.dense.weight.copy_(200 * torch.eye(first_BD.shape[1]))
        model.classifier.dense.bias.copy_(-200 * first_BD.mean(0))
        torch.nn.init.normal_(model.classifier.out_proj.weight)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def run(*arguments: Any) -> Any:
    result = CliRunner().invoke(cli.app, ["evaluate", *map(str, arguments), "--own-head"])
    if isinstance(result.exception, ViaductError):
        raise result.exception
    return result


def by_hand(folder: Path, names: dict[int, str], data: Path) -> dict[str, str]:
    """Row id -> label for the English rows, as plain transformers predicts them."""
    model, tokenizer = (one.from_pretrained(folder) for one in (AutoModelForSequenceClassification, AutoTokenizer))
    said = {}
    for line in (data / "XNLI-1.0" / "xnli.test.tsv").read_text().splitlines()[1:]:
        code, _, first, second, number = line.split("\t")
        if code == "en":
            with torch.no_grad():
                logits = model.eval()(**tokenizer(first, second, return_tensors="pt")).logits
            said[number] = names[int(logits.argmax())]
    return said


def test_labels_are_matched_by_name_whatever_their_order(tiny_encoder: Path, data: Path, tmp_path: Path) -> None:
    order = ("CONTRADICTION", "entailment", "Neutral")
    folder = finished(tmp_path / "model", tiny_encoder, order)
    result = run(folder, "--tasks", "xnli", "--data", data, "--to", tmp_path / "said")
    assert result.exit_code == 0 and "xnli" in result.stdout and "accuracy" in result.stdout
    lines = map(json.loads, (tmp_path / "said" / "xnli" / "en.jsonl").read_text().splitlines())
    said = {line["id"]: line["prediction"] for line in lines}
    assert said == by_hand(folder, {at: name.lower() for at, name in enumerate(order)}, data) and len(said) == 8
    assert len(set(said.values())) > 1
    assert (tmp_path / "said" / "xnli" / "de.jsonl").is_file()


def test_labels_without_names_need_a_mapping(tiny_encoder: Path, data: Path, tmp_path: Path) -> None:
    folder = finished(tmp_path / "model", tiny_encoder, None)
    ask = (folder, "--tasks", "xnli", "--data", data)
    with pytest.raises(
        UsageError, match=r"does not name its labels: LABEL_0.*\n.*--labels LABEL_0=contradiction,LABEL_1"
    ):
        run(*ask)
    given = "LABEL_0=neutral,LABEL_1=entailment,LABEL_2=contradiction"
    assert run(*ask, "--labels", given, "--to", tmp_path / "said").exit_code == 0
    lines = map(json.loads, (tmp_path / "said" / "xnli" / "en.jsonl").read_text().splitlines())
    named = {0: "neutral", 1: "entailment", 2: "contradiction"}
    assert {line["id"]: line["prediction"] for line in lines} == by_hand(folder, named, data)
    with pytest.raises(UsageError, match="unknown label of the model 'LABEL_3'"):
        run(*ask, "--labels", "LABEL_3=neutral")


def test_another_task_and_a_model_without_a_head_are_refused(tiny_encoder: Path, data: Path, tmp_path: Path) -> None:
    folder = finished(tmp_path / "model", tiny_encoder, ("happy", "sad", "neutral"))
    with pytest.raises(UsageError, match="has labels that xnli lacks: happy, sad"):
        run(folder, "--tasks", "xnli", "--data", data)
    with pytest.raises(UsageError, match=r"has no trained head of AutoModelForSequenceClassification"):
        run(tiny_encoder, "--tasks", "xnli", "--data", data)
    with pytest.raises(UsageError, match="name it: --tasks xnli"):
        run(folder, "--data", data)
    (tmp_path / "said").mkdir()
    with pytest.raises(UsageError, match="already exists"):
        run(folder, "--tasks", "xnli", "--data", data, "--to", tmp_path / "said")


def test_label_pairs_are_pairs() -> None:
    assert label_pairs("a=b, c = d") == {"a": "b", "c": "d"} and label_pairs(None) == {}
    with pytest.raises(UsageError, match="'a' is not a pair"):
        label_pairs("a")
