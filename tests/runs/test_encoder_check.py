"""Encoder folders that are not what their makers intended: one message before any stage; which tokenizer runs."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import small_world
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from typer.testing import CliRunner

from viaduct import api, cli, plans
from viaduct.errors import UsageError
from viaduct.models import tokenizer_file
from viaduct.models.encoder import load_tokenizer
from viaduct.models.trial import require_encoder
from viaduct.runs import encoder, encoder_check
from viaduct.runs.encoder import encoder_identity
from viaduct.runs.encoder_check import require_folder, start_identity
from viaduct.runs.evaluation import evaluation
from viaduct.runs.planned import remarks
from viaduct.runs.spec import Target, Training

WORDS = "embeddings.word_embeddings.weight"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
ONE = Target(task="twins", training=Training(max_length=64))


@pytest.fixture
def folder(tiny_encoder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_encoder, tmp_path / "encoder")


def change(path: Path, **values: Any) -> None:
    """Sets values in a JSON file; None removes one."""
    found = json.loads(path.read_text()) | values
    path.write_text(json.dumps({name: value for name, value in found.items() if value is not None}))


def weights(folder: Path, made: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    save_file(made(load_file(folder / "model.safetensors")), folder / "model.safetensors", metadata={"format": "pt"})


def to_bin(folder: Path, *, zipped: bool = True, **more: Any) -> Path:
    found = load_file(folder / "model.safetensors") | more
    torch.save(found, folder / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    (folder / "model.safetensors").unlink()
    return folder / "pytorch_model.bin"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def only_sentencepiece(folder: Path) -> None:
    (folder / "tokenizer.json").rename(folder / "spm.model")


def named_in_index(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def in_parts(folder: Path, parts: object) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))


def settings(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(text)


def said(**values: Any) -> Callable[[Path], object]:
    """A function that sets these values in a folder's configuration."""
    return lambda folder: change(folder / "config.json", **values)


class Object:
    pass


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no configuration": (lambda one: (one / "config.json").unlink(), r"has no config\.json"),
    "configuration is no JSON": (lambda one: cut(one / "config.json"), r"config\.json is not JSON"),
    "two halves": (lambda one: change(one / "config.json", is_encoder_decoder=True), r"config\.json: .* a decoder"),
    "pointer": (lambda one: (one / "model.safetensors").write_text(POINTER), r"model\.safetensors is a Git LFS"),
    "tokenizer's pointer": (lambda one: (one / "tokenizer.json").write_text(POINTER), r"tokenizer\.json is a Git LFS"),
    "pointer among settings": (settings("tokenizer_config.json", POINTER), r"tokenizer_config\.json is a Git LFS"),
    "settings are a page": (settings("special_tokens_map.json", "<html>"), r"special_tokens_map\.json is not JSON"),
    "settings are a list": (settings("added_tokens.json", "[]"), r"added_tokens\.json is not a JSON object"),
    "no parts": (lambda one: in_parts(one, {}), r"index\.json is not an index of weights"),
    "parts are numbers": (lambda one: in_parts(one, {"a": 1}), r"index\.json is not an index of weights"),
    "size is a word": (said(hidden_size="big"), r"config\.json says hidden_size 'big', which is not a size"),
    "no layers": (said(num_hidden_layers=0), r"config\.json says num_hidden_layers 0, which is not a size"),
    "padding": (said(pad_token_id=9_999), r"config\.json says pad_token_id 9999, which is not one of the \d+"),
    "fewer layers": (said(num_hidden_layers=1), r"config\.json says num_hidden_layers 1, but the weights .* have 2"),
    "more layers": (said(num_hidden_layers=3), r"config\.json says num_hidden_layers 3, but the weights .* have 2"),
    "width": (said(hidden_size=64), r"config\.json says hidden_size 64, but the weights next to it have 32"),
    "positions": (said(max_position_embeddings=99), r"says max_position_embeddings 99, but the weights .* have 130"),
    "quantised": (
        lambda one: weights(one, lambda w: {k: v.to(torch.int8) for k, v in w.items()}),
        r"model\.safetensors: .*weight has values of type I8, and quantised weights are not",
    ),
    "cut": (lambda one: cut(one / "model.safetensors"), r"model\.safetensors is cut off"),
    "no header": (lambda one: (one / "model.safetensors").write_bytes(b"text, " * 9), r"is not a safetensors file"),
    "cut bin": (lambda one: cut(to_bin(one)), r"pytorch_model\.bin is cut off"),
    "objects": (lambda one: to_bin(one, more=Object()), r"pytorch_model\.bin holds objects other.*Object"),
    "objects in an old file": (
        lambda one: to_bin(one, zipped=False, more=Object()),
        r"bin holds objects other .*Object",
    ),
    "no bin": (lambda one: to_bin(one).write_text("weights"), r"pytorch_model\.bin is cut off, or not a file"),
    "no weights": (lambda one: (one / "model.safetensors").unlink(), r"encoder has no weights"),
    "a part is missing": (named_in_index, r"model-00001-of-00002\.safetensors is missing"),
    "no tokenizer": (lambda one: (one / "tokenizer.json").unlink(), r"encoder has no tokenizer: no tokenizer\.json"),
    "broken tokenizer": (lambda one: cut(one / "tokenizer.json"), r"tokenizer\.json is not a readable tokenizer"),
    "sentencepiece": (only_sentencepiece, r"spm\.model is the folder's only tokenizer.*sentencepiece"),
    "vocabulary": (lambda one: change(one / "config.json", vocab_size=900), r"config\.json says vocab_size 900"),
    "rows": (
        lambda one: weights(
            one, lambda w: {k: v[:9] if k.endswith("word_embeddings.weight") else v for k, v in w.items()}
        ),
        r"tokenizer\.json has ids up to \d+, .* for 9",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_folder_that_is_not_whole_is_refused_in_one_message(
    folder: Path, world: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder_check.importlib.util, "find_spec", lambda _: None)
    require_folder(folder)
    break_it, message = DAMAGE[damage]
    break_it(folder)
    with pytest.raises(UsageError, match=message) as caught:
        api.plan(small_world.recipe(encoder=str(folder), targets=(ONE,)), data=world, store=world / "store")
    assert str(folder) in str(caught.value) and len(str(caught.value).splitlines()) == 2


def spoil(found: dict[str, Any]) -> dict[str, Any]:
    found["encoder.layer.1.output.dense.weight"][3, 3] = float("nan")
    return found


LOADED: dict[str, tuple[Callable[[Path], object], str]] = {
    "size": (lambda one: change(one / "config.json", intermediate_size=32), r"has the shape \(64,\).* implies \(32,\)"),
    "fewer": (
        lambda one: (change(one / "config.json", num_hidden_layers=1), to_bin(one)),
        r"layer\.1\..*does not have",
    ),
    "more": (lambda one: (change(one / "config.json", num_hidden_layers=3), to_bin(one)), r"layer\.2\..*is missing"),
    "activation": (said(hidden_act="zelu"), "transformers does not know 'zelu'"),
    "a padding token of its own": (
        lambda one: change(one / "tokenizer_config.json", pad_token="<padding>"),
        r"gives '<padding>' the id \d+, and the encoder has word embeddings for \d+",
    ),
    "not finite": (lambda one: weights(one, spoil), r"model\.safetensors: 1 of .*has non-finite values"),
    "no padding": (lambda one: change(one / "tokenizer_config.json", pad_token=None), "no padding token"),
    "no unknown": (lambda one: change(one / "tokenizer_config.json", unk_token=None), "no unknown token"),
}


@pytest.mark.parametrize("damage", LOADED)
def test_what_only_loading_tells_is_said_before_the_first_stage(folder: Path, world: Path, damage: str) -> None:
    require_encoder(str(folder), None)
    break_it, message = LOADED[damage]
    break_it(folder)
    with pytest.raises(UsageError, match=message) as caught:
        api.run(
            small_world.recipe(encoder=str(folder), targets=(ONE,), allow_unknown=True), data=world, store=world / "s"
        )
    assert str(folder) in str(caught.value)
    assert {path.name for path in (world / "s").iterdir()} <= {"cache"}, "nothing is written, no record of a run either"


@pytest.mark.parametrize("zipped", [True, False])
def test_weights_alone_in_a_bin_file_are_used(folder: Path, zipped: bool) -> None:
    to_bin(folder, zipped=zipped)
    require_folder(folder)
    require_encoder(str(folder), None)


def test_code_in_a_folder_is_not_run_nor_asked_about(folder: Path, tmp_path: Path) -> None:
    code = f"open({str(tmp_path / 'ran')!r}, 'w')\n"
    for name in ("configuration.py", "modeling.py", "tokenization.py"):
        (folder / name).write_text(code)
    change(
        folder / "config.json",
        model_type="new",
        auto_map={"AutoConfig": "configuration.New", "AutoModel": "modeling.New"},
    )
    with pytest.raises(UsageError, match="code that comes with it, which is not run"):
        require_encoder(str(folder), None)
    done = CliRunner().invoke(cli.app, ["profile", str(folder), "--data", str(tmp_path)], input="y\n")
    assert isinstance(done.exception, UsageError) and "which is not run" in str(done.exception)
    (folder / "tokenizer.json").unlink()
    change(
        folder / "tokenizer_config.json", tokenizer_class="New", auto_map={"AutoTokenizer": ["tokenization.New", None]}
    )
    with pytest.raises(UsageError, match="no tokenizer that can be opened"):
        load_tokenizer(str(folder), None)
    assert not (tmp_path / "ran").exists()


TEXTS = ("Häuser ＡＢＣ", "これはﾃｽﾄ", "don't [UNK] stop")


def unigram(folder: Path, pieces: int = 60) -> Tokenizer:
    """Writes a unigram tokenizer, a kind that BERT does not use, into the folder; returns it."""
    letters = sorted({*"▁ABCHäusertondp'[]UNK,.これはテスト日"})[:pieces]
    special = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    made = Tokenizer(models.Unigram([*special, *((letter, -3.0) for letter in letters)], unk_id=3))
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    made.save(str(folder / "tokenizer.json"))
    names = {"bos": "<s>", "cls": "<s>", "eos": "</s>", "sep": "</s>", "unk": "<unk>", "pad": "<pad>"}
    (folder / "tokenizer_config.json").write_text(json.dumps({f"{name}_token": text for name, text in names.items()}))
    return made


def test_the_tokenizer_that_runs_is_the_one_in_its_file(folder: Path) -> None:
    before = encoder_identity(str(folder), None)
    assert start_identity(str(folder), None) == before, "transformers takes the file as it is"
    made = unigram(folder)
    change(folder / "config.json", model_type="bert")
    ours = load_tokenizer(str(folder), None)
    for text in TEXTS:
        assert ours(text)["input_ids"] == made.encode(text).ids
    assert ours(*TEXTS[:2])["input_ids"] == made.encode(*TEXTS[:2]).ids
    assert (ours.pad_token, ours.unk_token, ours.cls_token) == ("<pad>", "<unk>", "<s>")
    ours.save_pretrained(folder / "kept")
    assert load_tokenizer(str(folder / "kept"), None)(TEXTS[0])["input_ids"] == made.encode(TEXTS[0]).ids


def test_stages_made_with_other_ids_are_not_taken_for_these(folder: Path, tmp_path: Path) -> None:
    unigram(folder)
    change(folder / "config.json", model_type="bert")
    files, cache = encoder_identity(str(folder), None), tmp_path / "cache"
    assert start_identity(str(folder), None, cache) == {**files, "tokenizer": "as its file has it"}
    known = json.loads((cache / "tokenizers.json").read_text())
    del known["sha256"]
    (kept,) = known.values()
    assert json.loads(kept)["special"]["unk_token"] == "<unk>"
    (cache / "tokenizers.json").write_text(json.dumps(dict.fromkeys(known, "other ids")))  # as older versions did
    assert start_identity(str(folder), None, cache) == {**files, "tokenizer": "as its file has it"}
    change(folder / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    assert "tokenizer" not in start_identity(str(folder), None, cache), "the file was used before, too"


def test_a_name_whose_file_is_not_used_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoTokenizer

    unigram(folder)
    change(folder / "config.json", model_type="bert")
    opened = AutoTokenizer.from_pretrained(folder)
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda *_args, **_options: opened)
    monkeypatch.setattr(tokenizer_file, "cached_file", lambda *_: folder / "tokenizer.json")
    monkeypatch.setattr(tokenizer_file, "hub_options", lambda *_: {})
    with pytest.raises(UsageError, match=r"different ids from its own tokenizer\.json"):
        load_tokenizer("somebody/encoder", "0" * 40)


def test_a_tokenizer_is_not_made_again_once_its_ids_are_known_to_differ(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan finds out in another process; opening the tokenizer afterwards does not make it again."""
    from transformers import AutoTokenizer

    made = unigram(folder)
    change(folder / "config.json", model_type="bert")
    assert "tokenizer" in start_identity(str(folder), None)
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda *_args, **_options: pytest.fail("made again"))
    ours = load_tokenizer(str(folder), None)
    assert ours(TEXTS[0])["input_ids"] == made.encode(TEXTS[0]).ids
    assert (ours.pad_token, ours.unk_token, ours.cls_token) == ("<pad>", "<unk>", "<s>")


@pytest.mark.parametrize("name", ["XLMRobertaTokenizer", None, 3])
def test_a_file_that_transformers_can_make_nothing_of_is_used_itself(folder: Path, name: object) -> None:
    """transformers' class for XLM-R tokenizers accepts unigram models only."""
    expected = load_tokenizer(str(folder), None)(list(TEXTS))["input_ids"]
    change(folder / "tokenizer_config.json", tokenizer_class=name, model_input_names=None)
    require_folder(folder)
    require_encoder(str(folder), None)
    assert "tokenizer" not in start_identity(str(folder), None)
    assert load_tokenizer(str(folder), None)(list(TEXTS))["input_ids"] == expected


def test_code_of_the_makers_that_is_not_run_is_spoken_of(folder: Path, world: Path) -> None:
    asked = small_world.recipe(encoder=str(folder), targets=(ONE,), allow_unknown=True)
    assert not any("which is not run" in line for line in remarks(api.plan(asked, data=world, store=world / "s")))
    change(folder / "config.json", auto_map={"AutoConfig": "a.B", "AutoModel": "modeling.New"})
    told = [line for line in remarks(api.plan(asked, data=world, store=world / "s")) if "which is not run" in line]
    assert len(told) == 1 and "modeling.New" in told[0] and "'xlm-roberta' is" in told[0]


def test_a_name_on_the_hub_that_no_network_leads_to(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "unreachable", lambda: "https://hub cannot be reached (no network)")
    with pytest.raises(UsageError, match=r"'some/model' is not a folder here, .*https://hub cannot be reached"):
        evaluation("some/model", revision="0" * 40, tasks=("udpos",))
    asked = small_world.recipe(encoder="some/model", revision="0" * 40, targets=(ONE,))
    with pytest.raises(UsageError, match=r"'some/model' is not a folder here, .*https://hub cannot be reached"):
        api.run(asked, data=world, store=world / "s")
    assert {path.name for path in (world / "s").iterdir()} <= {"cache"}


def test_unknown_pieces_are_shown_remarked_on_and_refused(folder: Path, world: Path, tmp_path: Path) -> None:
    asked = small_world.recipe(encoder=str(folder), targets=(ONE,), allow_unknown=True)
    found = api.plan(asked, data=world, store=tmp_path / "store")
    rows = {code: found.census.data.load("twins", "test", code).rows for code in ("de", "sw")}
    tokenizer = load_tokenizer(str(folder), None)
    shares = {}
    for code, some in rows.items():
        ids = [
            one for row in some for text in row.texts for one in tokenizer(text, add_special_tokens=False)["input_ids"]
        ]
        shares[code] = ids.count(tokenizer.unk_token_id) / len(ids)
    assert found.unknown is not None and found.unknown.shares == shares and min(shares.values()) > 0.01
    worst = max(shares, key=lambda code: shares[code])
    assert f"(unknown pieces: {worst} {shares[worst]:.1%}, " in plans.text(found)
    assert any(
        "more than 1% of the pieces are unknown to the tokenizer in 2 of 2 languages" in line for line in remarks(found)
    )
    unigram(folder, 2)
    with pytest.raises(UsageError, match=r"tokenizer\.json: \d+% of the pieces .* unknown") as caught:
        api.plan(asked.model_copy(update={"allow_unknown": False}), data=world, store=tmp_path / "store")
    assert "allow_unknown=true" in str(caught.value)
    assert api.plan(asked, data=world, store=tmp_path / "store").identities


@pytest.mark.parametrize("name", ["my encoder", "a+b", "a[1]", "(a)"])
def test_a_name_that_cannot_be_a_folder_of_the_store(folder: Path, name: str) -> None:
    place = folder.rename(folder.with_name(name))
    done = CliRunner().invoke(cli.app, ["evaluate", str(place), "--tasks", "udpos", "--plan"])
    assert isinstance(done.exception, UsageError) and f"'{name}'" in str(done.exception)
    assert "rename the folder" in str(done.exception)


@pytest.mark.parametrize("name", ["gone", "config.json"])
def test_a_folder_that_is_not_there_is_called_that(folder: Path, world: Path, name: str) -> None:
    recipe = small_world.recipe(encoder=str(folder / name), targets=(ONE,))
    with pytest.raises(UsageError, match=re.escape(f"the encoder's folder {folder / name}") + " (does not|is a file)"):
        api.plan(recipe, data=world, store=world / "store")


def test_a_padding_id_that_is_no_piece_is_not_blamed_on_the_length(folder: Path, world: Path) -> None:
    change(folder / "config.json", pad_token_id=9_999)
    with pytest.raises(UsageError, match="says pad_token_id 9999"):
        api.plan(small_world.recipe(encoder=str(folder), targets=(ONE,)), data=world, store=world / "store")


def test_rows_longer_than_the_encoder_takes(folder: Path, world: Path) -> None:
    long = Target(task="twins", training=Training(max_length=129))
    with pytest.raises(UsageError, match=re.escape(f"max_length of 129 tokens, but {folder} takes 128")):
        api.plan(small_world.recipe(encoder=str(folder), targets=(long,)), data=world, store=world / "store")
    assert {one.training.max_length for one in evaluation(str(folder)).targets} == {128}


@pytest.mark.parametrize("command", [["profile"], ["export", "--engine", "onnx"]])
def test_other_commands_refuse_it_likewise(folder: Path, tmp_path: Path, command: list[str]) -> None:
    cut(folder / "model.safetensors")
    where = [str(tmp_path / "made")] if "export" in command else []
    done = CliRunner().invoke(cli.app, [*command[:1], str(folder), *where, *command[1:], "--data", str(tmp_path)])
    assert isinstance(done.exception, UsageError) and "model.safetensors is cut off" in str(done.exception)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("values", [{"hidden_act": "bogus"}, {"num_attention_heads": 5}, {"model_type": "bogus"}])
def test_a_configuration_that_transformers_cannot_build_is_refused_in_one_message(
    folder: Path, tmp_path: Path, values: dict[str, Any]
) -> None:
    change(folder / "config.json", **values)
    done = CliRunner().invoke(cli.app, ["profile", str(folder), "--data", str(tmp_path)])
    assert isinstance(done.exception, UsageError), done.exception
    assert f"'{folder}' cannot be opened as an encoder" in str(done.exception)
