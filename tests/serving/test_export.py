"""An exported folder runs without Viaduct, says where it is from, and contains what was requested."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from small_world import add_cards
from transformers import AutoTokenizer
from typer.testing import CliRunner

from viaduct import cli
from viaduct.encode.tokens import Limits
from viaduct.errors import DataError, NumbersError, UsageError
from viaduct.heads.head import build_head, head_spec, save_head
from viaduct.models.encoder import save_encoder
from viaduct.models.layers import pick_layers
from viaduct.rows import Pair, Row
from viaduct.serving.commands import exported_words
from viaduct.serving.compressing import trimmed
from viaduct.serving.engines import open_engine
from viaduct.serving.export import ExportSettings, _difference, export
from viaduct.serving.losses import grouped
from viaduct.serving.model import LoadedModel, open_model
from viaduct.serving.samples import batches, spread
from viaduct.tasks.card import Source

OUTPUTS = {"pair": "logits", "choice": "logits", "tagged": "logits", "span": "logits", None: "hidden"}


pytestmark = pytest.mark.usefixtures("engines_installed")

CARD_RUNNER = """
import json, os, sys, traceback
for name in ("viaduct", "torch", "transformers"):
    sys.modules[name] = None
sys.modules["openvino_telemetry"] = None  # else OpenVINO would report its use over the network
import numpy, onnxruntime, openvino, tokenizers  # here, so that the forks need not
for folder, block, output in json.load(sys.stdin):
    if os.fork() == 0:
        os.chdir(folder)
        sys.stdout = open("printed.txt", "w")
        try:
            names = {"__name__": "__main__"}
            exec(block, names)
            numpy.save("output.npy", names[output])
        except BaseException:
            traceback.print_exc(file=sys.stdout)
        sys.stdout.flush()
        os._exit(0)
    os.wait()
"""
"""Runs the code blocks of model cards, each in its folder in a process of its own that cannot import Viaduct, torch or
transformers."""

Key = tuple[str | None, str, int | None]
CASES: list[Key] = [
    *((kind, "openvino", None) for kind in OUTPUTS),
    ("pair", "onnx", None),
    (None, "onnx", None),
    (None, "onnx", 1),
    (None, "openvino", 1),
]
"""(kind of head, engine, number of layers kept)."""


@dataclass(frozen=True)
class Case:
    """A model, the folder it was exported to, and the output of its card's code."""

    source: Path
    folder: Path
    printed: str

    @property
    def output(self) -> torch.Tensor:
        path = self.folder / "output.npy"
        assert path.is_file(), self.printed
        return torch.from_numpy(np.load(path))


@pytest.fixture(scope="module")
def cases(tiny_encoder: Path, trained_pairs: Path, exported: Any, made_once: Any) -> dict[Key, Case]:
    """Every case, exported and run; pairs are those of `exported`."""

    def make(root: Path) -> None:
        jobs = []
        for kind, engine, layers in CASES:
            folder = root / f"{kind}-{engine}-{layers}"
            if kind == "pair":
                shutil.copytree(exported(engine, "fp32")[0], folder)
            else:
                source = tiny_encoder if kind is None else with_head(kind, tiny_encoder, root / kind)
                export(source, folder, ExportSettings(engine, layers=layers))
            text = (folder / "README.md").read_text(encoding="utf-8")
            (block,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
            jobs.append((str(folder), block, OUTPUTS[kind]))
        done = subprocess.run([sys.executable, "-c", CARD_RUNNER], input=json.dumps(jobs), text=True, check=False)
        assert done.returncode == 0

    root = made_once("cards", make)
    sources = {None: tiny_encoder, "pair": trained_pairs}
    found = {}
    for kind, engine, layers in CASES:
        folder = root / f"{kind}-{engine}-{layers}"
        printed = (folder / "printed.txt").read_text(encoding="utf-8")
        found[kind, engine, layers] = Case(sources.get(kind, root / f"{kind}"), folder, printed)
    return found


def with_head(kind: str, tiny_encoder: Path, folder: Path) -> Path:
    """A stage's folder with a head of this kind."""
    folder.mkdir(parents=True)
    (folder / "encoder").symlink_to(tiny_encoder)
    torch.manual_seed(7)
    save_head(build_head(head_spec(tiny.CARDS[kind]), 32, 0.0, initial_range=0.5), head_spec(tiny.CARDS[kind]), folder)
    return folder


EXAMPLES: dict[str | None, list[Any]] = {
    "pair": [("A boat is on the river.", "There is a boat."), ("The house is small.", "It is green.")],
    "choice": [
        ("The river froze.", f"What was the cause? {ending}") for ending in ("It was winter.", "The boat was yellow.")
    ],
    "tagged": [["The", "green", "boat", "is", "small", "."]],
    "span": [("Where is the boat?", "The house is small. The boat is on the river.")],
    None: ["A boat is on the river.", "The house is small."],
}
"""The inputs that the model cards' code runs on."""


@pytest.mark.parametrize(("kind", "engine"), [(kind, engine) for kind, engine, layers in CASES if layers is None])
def test_the_card_runs_without_viaduct_and_gives_torchs_numbers(kind: str | None, engine: str, cases: Any) -> None:
    case = cases[kind, engine, None]
    trained = open_model(case.source)
    inputs = trained.tokenizer(EXAMPLES[kind], padding=True, is_split_into_words=kind == "tagged", return_tensors="pt")
    with torch.inference_mode():
        expected = trained.model(inputs["input_ids"], inputs["attention_mask"])
    real = inputs["attention_mask"].bool() if expected.ndim == 3 else torch.ones(len(expected), dtype=torch.bool)
    torch.testing.assert_close(case.output[real], expected[real], atol=1e-4, rtol=0)
    if kind == "pair":
        labels = [("no", "yes")[at] for at in expected.argmax(1)]
        assert case.printed.strip() == repr(labels)
    if kind == "choice":
        assert case.printed.strip() == ("It was winter.", "The boat was yellow.")[expected[:, 0].argmax()]
    if kind == "tagged":
        assert len(eval(case.printed)) == 6
    if kind == "span":
        assert case.printed.strip() in EXAMPLES["span"][0][1]


def test_the_card_says_where_the_model_is_from_and_what_it_scored(exported: Any, trained_pairs: Path) -> None:
    folder, about = exported("openvino", "int8")
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "Source: `tiny/none/tiny-pair/seed-1/train`." in card
    trained = (
        "trained on tiny-pair, from an encoder's folder (config.json 000000000000), seed 1: learning rate 0.003, 12"
    )
    assert f"{trained} epochs of all rows, 256 tokens per step, length 64" in card
    log = json.loads((trained_pairs / "training.json").read_text())
    assert f"; {log['steps']} steps made" in card
    assert "| tiny-pair | test | en | accuracy | 87.50 | 24 |" in card
    assert "whole source model in float32, as measured by its run; not measured again for this export" in card
    assert "int8, static; ranges measured on 96 rows of text train, 8 languages" in card
    assert "| labels | no, yes |" in card
    files = {path.name for path in folder.iterdir()}
    assert files == {
        "README.md", "citations.bib", "config.json", "export.json", "openvino_model.bin", "openvino_model.xml",
        "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    config = json.loads((folder / "config.json").read_text())
    assert config["id2label"] == {"0": "no", "1": "yes"} and config["model_type"] == "xlm-roberta"
    assert about["comparison"]["largest_difference"] > 0 and about["comparison"]["agreement"] is None


def test_what_is_not_known_is_not_made_up(cases: Any) -> None:
    card = (cases[None, "openvino", None].folder / "README.md").read_text(encoding="utf-8")
    assert "What it was trained on is not known" in card
    assert "## Scores\n\nNot measured.\n" in card


def task_data(monkeypatch: pytest.MonkeyPatch, folder: Path, found: list[Row], *, evaluated: bool = False) -> Path:
    """A data folder with these rows as dev rows of `trained_pairs`' task, or as test rows of a task evaluated with its
    head."""
    card, split = tiny.CARDS["pair"], "test" if evaluated else "dev"
    source = Source(
        "official",
        {"rows": "pairs-{language}.txt"},
        lambda _files, code, _split: (row for row in found if row.language == code),
        {split: split},
    )
    name, codes = "tiny-other" if evaluated else card.name, tuple(dict.fromkeys(row.language for row in found))
    changed = replace(card, name=name, sources=(source,), languages=codes, trained_on=card.name)
    add_cards(monkeypatch.setattr, [changed])
    folder.mkdir()
    for code in codes:
        (folder / f"pairs-{code}.txt").write_text("made\n")
    return folder


def right(model: LoadedModel, rows: list[Row]) -> tuple[list[bool], list[int]]:
    """(whether each row is predicted correctly, the classes), by transformers' own tokenizer and the model in torch."""
    classes = []
    for row in rows:
        assert isinstance(row, Pair)
        inputs = model.tokenizer(row.first, row.second, return_tensors="pt")
        with torch.inference_mode():
            classes.append(int(model.model(inputs["input_ids"], inputs["attention_mask"]).argmax()))
    gold = [("no", "yes").index(row.label) for row in rows if isinstance(row, Pair) and row.label]
    return [one == other for one, other in zip(classes, gold, strict=True)], classes


@pytest.fixture
def needs_both(trained_pairs: Path, tmp_path: Path) -> Path:
    """A trained stage like `trained_pairs` whose upper layer has much influence."""
    folder = tmp_path / "deep" / "none" / "pairs" / "seed-1" / "train"
    shutil.copytree(trained_pairs, folder)
    encoder, words = open_model(folder).model.encoder, open_model(folder).tokenizer
    torch.manual_seed(5)
    with torch.no_grad():
        for weight in encoder.encoder.layer[1].parameters():  # type: ignore[union-attr]
            weight.add_(torch.randn_like(weight), alpha=2.0)
    save_encoder(encoder, words, folder / "encoder")
    return folder


def test_predictions_are_compared_where_there_are_rows_of_the_task(
    trained_pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = task_data(monkeypatch, tmp_path / "data", tiny.rows("pair", 40))
    about = export(trained_pairs, tmp_path / "made", ExportSettings("openvino", "int8"), data)
    assert about["comparison"]["agreement"] >= 0.99 and about["comparison"]["count"] == 40
    assert "of 40 predictions are the same" in (tmp_path / "made" / "README.md").read_text(encoding="utf-8")


def test_a_cut_model_is_compared_with_the_whole_one_on_labelled_rows(
    needs_both: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = tiny.rows("pair", 40, offset=120)
    rows += [replace(row, id=f"de-{row.id}", language="de") for row in tiny.rows("pair", 20)]
    data = task_data(monkeypatch, tmp_path / "data", rows, evaluated=True)
    command = ["export", str(needs_both), str(tmp_path / "made"), "--engine", "openvino", "--layers", "1"]
    done = CliRunner().invoke(cli.app, [*command, "--data", str(data)])
    assert done.exit_code == 0, done.output
    whole, cut = open_model(needs_both), open_model(needs_both)
    pick_layers(cut.model.encoder, range(1, 2))
    (right_whole, said_whole), (right_cut, said_cut) = right(whole, rows), right(cut, rows)
    agreement = np.mean(np.equal(said_whole, said_cut))
    assert agreement < 0.9, "a cut that changes next to nothing shows nothing"
    found = json.loads((tmp_path / "made" / "export.json").read_text())["comparison"]
    assert (found["agreement"], found["count"]) == (pytest.approx(agreement), 60)
    assert found["compared_on"] == "tiny-other test, 2 languages" and found["metric"] == "accuracy"
    by_language = {one["language"]: (one["whole"], one["export"], one["n"]) for one in found["scores"]}
    assert by_language == {
        "en": (pytest.approx(np.mean(right_whole[:40])), pytest.approx(np.mean(right_cut[:40])), 40),
        "de": (pytest.approx(np.mean(right_whole[40:])), pytest.approx(np.mean(right_cut[40:])), 20),
    }
    means = [100 * (np.mean(one[:40]) + np.mean(one[40:])) / 2 for one in (right_whole, right_cut)]
    assert f"{agreement:.2%} of 60 as the whole model (tiny-other test, 2 languages)" in done.output
    assert f"whole model {means[0]:.1f}, export {means[1]:.1f} (en de, 60 rows)" in done.output
    assert "from the model as it was cut in float32" in done.output
    card = (tmp_path / "made" / "README.md").read_text(encoding="utf-8")
    assert f"| mean of en de | accuracy | {means[0]:.2f} | {means[1]:.2f} | 60 |" in card
    scores = [f"{100 * np.mean(one[:40]):.2f}" for one in (right_whole, right_cut)]
    assert f"| en | accuracy | {scores[0]} | {scores[1]} | 40 |" in card


def test_languages_whose_vocabulary_went_are_told_apart(
    trained_pairs: Path, text_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    russian = [replace(row, language="ru", first=" ".join(tiny.LANGUAGES["ru"])) for row in tiny.rows("pair", 12)]
    data = task_data(monkeypatch, tmp_path / "data", [*tiny.rows("pair", 30, offset=120), *russian], evaluated=True)
    (data / "text").symlink_to(text_data / "text")
    made = export(trained_pairs, tmp_path / "made", ExportSettings("openvino", languages=("en", "de")), data)
    found = made["comparison"]
    assert found["scores"][0]["whole"] == found["scores"][0]["export"], "English keeps all its pieces"
    assert [(codes, rows) for codes, rows, *_ in grouped(found, made["languages"])] == [("en", 30), ("ru", 12)]
    told = exported_words(made)
    assert "(en, 30 rows)" in told and "(ru, 12 rows)" in told
    card = (tmp_path / "made" / "README.md").read_text(encoding="utf-8")
    assert "before anything was cut" in card and "| mean of ru | accuracy |" in card


def test_without_labels_predictions_alone_are_compared_and_that_is_said(
    trained_pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [replace(row, label=None) for row in tiny.rows("pair", 10)]
    data = task_data(monkeypatch, tmp_path / "data", rows)
    left = tmp_path / ".viaduct-unfinished-of-an-export-that-was-killed"
    left.mkdir()
    made = export(trained_pairs, tmp_path / "made", ExportSettings("openvino", layers=1), data)
    assert {path.name for path in tmp_path.glob(".*")} == set()
    assert made["comparison"]["count"] == 10 and made["comparison"]["scores"] == []
    assert "scores              not compared: these rows have no labels" in exported_words(made)
    card = (tmp_path / "made" / "README.md").read_text(encoding="utf-8")
    assert "Scores were not compared: these rows have no labels." in card


def test_without_rows_of_the_task_texts_are_compared(
    trained_pairs: Path, needs_both: Path, text_data: Path, tmp_path: Path
) -> None:
    cut = ExportSettings("openvino", layers=1, languages=("en",))
    found = export(trained_pairs, tmp_path / "pairs", cut, text_data)
    assert found["comparison"]["agreement"] is None and 0 <= found["comparison"]["text_agreement"] <= 1
    assert "not compared with labels: no rows of its task were found" in exported_words(found)
    for settings, expected in ((ExportSettings("openvino"), 1.0), (ExportSettings("openvino", layers=1), 0.0)):
        made = export(needs_both / "encoder", tmp_path / f"{expected}", settings)
        likeness = made["comparison"]["similarity"]
        assert likeness == pytest.approx(1.0, abs=1e-5) if expected else likeness < 0.999
        card = (tmp_path / f"{expected}" / "README.md").read_text(encoding="utf-8")
        assert f"the mean cosine between mean vectors is {likeness:.4f}" in card


def test_a_vocabulary_of_two_languages_changes_nothing_in_them(
    trained_pairs: Path, text_data: Path, exported: Any, tmp_path: Path
) -> None:
    folders = (exported("openvino", "fp32")[0], tmp_path / "part")
    export(trained_pairs, folders[1], ExportSettings("openvino", languages=("en", "de")), text_data)
    whole, part = (AutoTokenizer.from_pretrained(folder) for folder in folders)
    assert len(part) < 0.6 * len(whole)
    assert json.loads((folders[1] / "config.json").read_text())["vocab_size"] == len(part)
    script = (folders[1] / "README.md").read_text(encoding="utf-8")
    assert f"| vocabulary | {len(part):,} pieces of {len(whole):,} |" in script and "| de | 12 |" in script
    texts = [*tiny.sentences("en"), *tiny.sentences("de")]
    rows = [Pair(str(at), "en", text, texts[at - 1], None) for at, text in enumerate(texts)]
    outputs = []
    for folder, words in zip(folders, (whole, part), strict=True):
        engine = open_engine(folder, "openvino", "fp32", 1)
        made = batches(tiny.encode(rows, words, (), Limits(64)), words.pad_token_id)
        outputs.append(torch.cat([engine(batch) for batch in made]))
    torch.testing.assert_close(outputs[1], outputs[0], atol=1e-6, rtol=0)


def test_coverage_is_of_lines_that_were_held_out(tiny_encoder: Path) -> None:
    trained = open_model(tiny_encoder)
    texts = {"same": ["green house"] * 20, "new": ["boat"] * 9 + ["река"] + ["boat"], "short": ["bread"] * 9}
    _, part = trimmed(trained, texts)
    assert part.coverage["same"] == 1.0
    ids = len(open_model(tiny_encoder).tokenizer("река")["input_ids"])
    assert part.coverage["new"] == pytest.approx(2 / ids)  # both ends of the sequence, none of the word
    assert part.coverage["short"] is None
    assert part.lines == {"same": 20, "new": 11, "short": 9}


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_layers_are_taken_from_the_top(engine: str, tiny_encoder: Path, cases: Any) -> None:
    case = cases[None, engine, 1]
    trained = open_model(tiny_encoder)
    inputs = trained.tokenizer(EXAMPLES[None], padding=True, return_tensors="pt")
    with torch.inference_mode():
        states = trained.model.encoder(**inputs, output_hidden_states=True).hidden_states
    real = inputs["attention_mask"].bool()
    torch.testing.assert_close(case.output[real], states[1][real], atol=1e-4, rtol=0)
    assert json.loads((case.folder / "config.json").read_text())["num_hidden_layers"] == 1
    assert "| layers | 1 of 2: the upper ones were removed" in (case.folder / "README.md").read_text()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (ExportSettings("openvino", layers=3), "3 layers were requested: the encoder has 2"),
        (ExportSettings("openvino", languages=("de",)), "--languages needs the folder"),
        (ExportSettings("openvino", "int8"), "calibrated on real text, but there is none"),
        (ExportSettings("torch"), "unknown engine to export for 'torch'"),
    ],
)
def test_what_cannot_be_done_leaves_nothing(
    asked: ExportSettings, words: str, tiny_encoder: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=words):
        export(tiny_encoder, tmp_path / "made", asked)
    assert not list(tmp_path.iterdir())


def test_files_and_folders_that_are_not_there_are_named(tiny_encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no-such\.txt: there is no such text file"):
        export(tiny_encoder, tmp_path / "made", ExportSettings("openvino", text=(tmp_path / "no-such.txt",)))
    with pytest.raises(UsageError, match="holds no model"):
        export(tmp_path, tmp_path / "made", ExportSettings("openvino"))
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "precious").write_text("")
    with pytest.raises(UsageError, match="already exists"):
        export(tiny_encoder, tmp_path / "made", ExportSettings("openvino"))


def test_the_command_says_what_it_made_and_what_it_cannot_make(
    trained_pairs: Path, text_data: Path, tmp_path: Path
) -> None:
    command = ["export", str(trained_pairs), str(tmp_path / "made"), "--data", str(text_data), "--languages", "en,ru"]
    done = CliRunner().invoke(cli.app, [*command, "--engine", "openvino", "--layers", "1"])
    assert done.exit_code == 0, done.output
    assert "covered, ru" in done.output and "layers              1 of 2" in done.output
    assert done.output.splitlines()[-1].startswith(f"exported: {tmp_path / 'made'} (")
    with pytest.raises(UsageError, match="onnx does not run in bf16"):
        CliRunner().invoke(cli.app, [*command, "--engine", "onnx", "--precision", "bf16"], catch_exceptions=False)


def test_outputs_that_are_no_numbers_are_not_compared(tiny_tokenizer: Any) -> None:
    rows = tiny.rows("pair", 2)
    batch = batches(tiny.encode(rows, tiny_tokenizer, (), Limits(64)), 1)[0]
    one, other = (lambda _, value=value: torch.full((1, 3), value) for value in (0.5, torch.nan))
    with pytest.raises(NumbersError, match="the difference between the outputs of the export and of its source is no"):
        _difference(one, other, batch)


def test_samples_are_spread() -> None:
    assert spread(list(range(10)), 4, "ab") == [0, 5]
    assert spread(list(range(3)), 10, "a") == [0, 1, 2]
    assert spread([], 10, "a") == []
