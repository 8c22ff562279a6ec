"""Every family of encoders gives the same states as plain transformers, and is trained, cut, passed on, exported and
measured like any other; everything else is refused in one message."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import architectures
import numpy as np
import pytest
import small_world
import tiny
import torch
from architectures import FAMILIES, VARIANTS, Family
from safetensors.torch import load_file
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding, T5GemmaForConditionalGeneration
from typer.testing import CliRunner

from viaduct import api, cli
from viaduct.encode.batch import Batch, collate
from viaduct.encode.tokens import Encoded, Limits
from viaduct.errors import UsageError
from viaduct.inference.predict import PredictWork
from viaduct.models import vocabulary
from viaduct.models.encoder import (
    encode_batch,
    encode_layers,
    forward_flops,
    load_encoder,
    load_tokenizer,
    longest_input,
    num_layers,
    width,
)
from viaduct.models.layers import keep_layers
from viaduct.models.trial import require_encoder
from viaduct.rows import Row, Sentence
from viaduct.runs import families
from viaduct.runs.encoder import longest_of, shape_of
from viaduct.runs.encoder_check import require_folder, start_identity
from viaduct.runs.evaluation import evaluation
from viaduct.runs.spec import Target, Training
from viaduct.serving.export import ExportSettings, export
from viaduct.serving.model import skeleton
from viaduct.serving.profile import cost
from viaduct.serving.samples import workload
from viaduct.training import finetuning
from viaduct.training.train import TrainWork

EVERY = {**FAMILIES, **VARIANTS}
KINDS = (*tiny.CARDS, "sentence")
LIMITS = Limits(64, 8)


def folder_of(name: str, made_once: Any) -> Path:
    def make(folder: Path) -> None:
        architectures.write(EVERY[name], folder)

    slug = re.sub(r"\W+", "-", name)
    folder: Path = made_once(f"family-{slug}", make)
    return folder


@pytest.fixture(params=EVERY)
def folder(request: pytest.FixtureRequest, made_once: Any) -> Path:
    return folder_of(request.param, made_once)


def plain(folder: Path) -> nn.Module:
    """The folder's model as transformers opens it; of an encoder-decoder, the encoder."""
    model: Any = AutoModel.from_pretrained(folder)
    return (model.encoder if model.config.is_encoder_decoder else model).eval()


def rows_of(kind: str) -> list[Row]:
    if kind != "sentence":
        return tiny.rows(kind, 7)
    texts = ("", "a", *tiny.sentences("en"), *tiny.sentences("zh"), " ".join(tiny.sentences("ru")[:3]))
    return [Sentence(f"r{number}", "en", text) for number, text in enumerate(texts)]


def encoded_rows(kind: str, tokenizer: Any) -> Encoded:
    return tiny.encode(rows_of(kind), tokenizer, getattr(tiny.CARDS.get(kind), "labels", ()), LIMITS)


def alone(model: nn.Module, encoded: Encoded, *, segments: bool) -> Iterator[tuple[torch.Tensor, ...]]:
    """For each sequence, the states of all layers by plain transformers, (L, D) each, with the last layer last."""
    for start, stop in zip(encoded.offsets[:-1], encoded.offsets[1:], strict=True):
        inputs = {"input_ids": encoded.ids[start:stop]}
        if segments and "types" in encoded.fields:
            inputs["token_type_ids"] = encoded.fields["types"][start:stop]
        given = {name: torch.from_numpy(values.astype(np.int64))[None] for name, values in inputs.items()}
        output = model(**given, output_hidden_states=True)
        yield tuple(states[0] for states in (*output.hidden_states[:-1], output.last_hidden_state))


@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.float64, marks=pytest.mark.slow)])
def test_states_in_a_batch_are_those_of_each_row_alone(folder: Path, dtype: torch.dtype) -> None:
    encoder, tokenizer = load_encoder(str(folder), None).to(dtype).eval(), load_tokenizer(str(folder), None)
    if dtype == torch.float64 and encoder.config.model_type == "t5gemma":
        pytest.skip("its float32 attention has no number for a float64 mask")
    theirs, allowed = plain(folder).to(dtype), 1e-5 if dtype == torch.float32 else 1e-6  # some do attention in float32
    segments = getattr(theirs.config, "type_vocab_size", 0) > 1  # with one, transformers takes no other type
    for kind in KINDS:
        encoded = encoded_rows(kind, tokenizer)
        with torch.inference_mode():
            batch = collate(encoded, np.arange(len(encoded)), tokenizer.pad_token_id)
            assert batch.mask_BL is not None and len(set(np.diff(encoded.offsets))) > 2
            found = encode_layers(encoder, batch, range(num_layers(encoder) + 1))
            for at, expected in enumerate(alone(theirs, encoded, segments=segments)):
                for own_BLD, its_LD in zip(found, expected, strict=True):
                    own_LD = own_BLD[at, : len(its_LD)]
                    scale = max(1.0, float(its_LD.abs().max()))
                    torch.testing.assert_close(own_LD, its_LD, atol=allowed * scale, rtol=0)


def test_it_says_how_large_it_is_and_takes_a_text_of_its_longest_length(folder: Path) -> None:
    encoder, tokenizer = load_encoder(str(folder), None).eval(), load_tokenizer(str(folder), None)
    require_folder(folder)
    shape, longest = shape_of(str(folder), None), longest_input(encoder)
    assert (width(encoder), num_layers(encoder)) == (32, encoder.config.get_text_config().num_hidden_layers)
    assert shape is None or (shape.width, shape.layers) == (32, num_layers(encoder))
    assert longest_of(str(folder), None) in (longest, None)
    ids_BL = torch.full((1, min(longest, 200)), tokenizer.convert_tokens_to_ids(tokenizer.tokenize("river"))[0])
    with torch.inference_mode():
        assert encode_batch(encoder, Batch(ids_BL, None, None, np.zeros(1), 0)).isfinite().all()
    assert start_identity(str(folder), None).keys() - {"read", "tokenizer"} == {
        one.name for one in folder.iterdir() if one.name != "generation_config.json"
    }


def test_layers_that_are_cut_leave_the_state_of_the_last_one_kept(folder: Path) -> None:
    encoder, tokenizer = load_encoder(str(folder), None).eval(), load_tokenizer(str(folder), None)
    encoded = encoded_rows("pair", tokenizer)
    batch = collate(encoded, np.arange(7), tokenizer.pad_token_id)
    with torch.inference_mode():
        (before_BLD,) = encode_layers(encoder, batch, (1,))
        keep_layers(encoder, 1)
        (after_BLD,) = encode_layers(encoder, batch, (1,))
    assert (num_layers(encoder) == 1) == (encoder.config.model_type in families.STACKS)
    assert torch.equal(before_BLD, after_BLD)


def trained(start: Path, place: Path, *, kind: str = "pair", **changes: Any) -> Path:
    card = tiny.CARDS[kind]
    parts = {(card.name, split, "en"): tiny.rows(kind, count) for split, count in (("train", 8), ("dev", 3))}
    training = tiny.training(**{"weight_decay": 0.01, "clip_norm": 0.05, "epochs": 1.0, "evaluations": 1, **changes})
    context = tiny.context(TrainWork(task=card.name, training=training, seed=1), place, parts, encoder=start)
    tiny.run(context)
    return context.directory


def weights(stage: Path) -> dict[str, torch.Tensor]:
    return {**load_file(stage / "encoder" / "model.safetensors"), **load_file(stage / "head.safetensors")}


def test_training_with_a_part_of_the_vocabulary_gives_the_same_model_which_the_next_stage_opens(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = trained(folder, tmp_path / "part")
    assert "whole_vocabulary" not in (part / "training.json").read_text()
    monkeypatch.setattr(finetuning, "trim", lambda _encoder, _kept: None)
    found, expected = weights(part), weights(trained(folder, tmp_path / "whole"))
    assert found.keys() == expected.keys()
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []
    before, after = load_encoder(str(folder), None), load_encoder(str(part / "encoder"), None)
    words = {name: encoder.get_input_embeddings().weight for name, encoder in (("before", before), ("after", after))}
    assert 0 < int((words["before"] != words["after"]).any(dim=1).sum()) < len(words["before"]) / 2
    assert before.state_dict().keys() == after.state_dict().keys()


class StoppedError(Exception):
    """Stand-in for a process that dies."""


def walk(folder: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Train, stop midway and resume; predict with the result; returns the training's directory."""
    changes = {"evaluations": 2, "epochs": 3.0}
    whole = trained(folder, place / "whole", kind="tagged", **changes)
    with monkeypatch.context() as patch:
        patch.setattr(tiny, "run", lambda context: _stopped(context))
        trained(folder, place / "parts", kind="tagged", **changes)
    parts = trained(folder, place / "parts", kind="tagged", **changes)
    files = [one.relative_to(whole) for one in sorted(whole.rglob("*")) if one.is_file()]
    assert [(whole / one).read_bytes() for one in files] == [(parts / one).read_bytes() for one in files]
    tagged = tiny.rows("tagged", 5)
    rows = {("tiny-tagged", "test", code): [replace(row, language=code) for row in tagged] for code in ("en", "de")}
    work = PredictWork(task="tiny-tagged", languages=("en", "de"), split="test", max_length=64, stride=8)
    context = tiny.context(work, place / "predict", rows, encoder=whole / "encoder")
    tiny.run(replace(context, inputs={"encoder": whole}))
    assert len((context.directory / "predictions" / "de.jsonl").read_text().splitlines()) == 5
    return whole


def _stopped(context: Any) -> None:
    def progress(done: float, total: float, _note: str) -> None:
        if total > 1 and done >= 2:
            raise StoppedError

    run = tiny.kind_of(context.work.kind).run
    with pytest.raises(StoppedError):
        run(tiny.with_progress(context, progress), context.work)


@pytest.mark.parametrize("name", ["mT5", "DeBERTa-v2 and v3", "gte (multilingual)"])
def test_it_goes_through_a_run(name: str, made_once: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = walk(folder_of(name, made_once), tmp_path, monkeypatch)
    made = export(stage, tmp_path / "openvino", ExportSettings("openvino"))
    assert made["comparison"]["largest_difference"] < 1e-4
    work = workload(load_tokenizer(str(stage / "encoder"), None), None, LIMITS, tiny_cards(), 8)
    assert cost(skeleton(stage), work, "fp32", 1e9)["layers"] == 3


def tiny_cards() -> Any:
    from viaduct.serving.samples import with_builtin_cards

    return with_builtin_cards(None)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_exported_and_profiled(
    name: str, made_once: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = walk(folder_of(name, made_once), tmp_path, monkeypatch)
    for engine in architectures.ENGINES[1:]:
        done = CliRunner().invoke(cli.app, ["export", str(stage), str(tmp_path / engine), "--engine", engine])
        if engine in FAMILIES[name].engines:
            assert done.exit_code == 0, done.output
        else:
            assert isinstance(done.exception, UsageError)
            assert "cannot convert an encoder of type" in str(done.exception)
    done = CliRunner().invoke(cli.app, ["profile", str(stage), "--rows", "8"])
    assert done.exit_code == 0, done.output


def test_layers_with_shared_weights_count_each_time_they_run(made_once: Any) -> None:
    encoder: Any = load_encoder(str(folder_of("ALBERT of two groups", made_once)), None)
    groups = encoder.encoder.albert_layer_groups
    once = sum(parameter.numel() for parameter in groups.parameters())
    rest = sum(parameter.numel() for name, parameter in encoder.named_parameters() if "layer_groups" not in name)
    rest -= sum(module.weight.numel() for module in encoder.modules() if isinstance(module, nn.Embedding))
    assert len(groups) == 2 and forward_flops(encoder, 10, 0) == 2 * 10 * (rest + 2 * once)


def test_a_side_that_was_saved_with_a_head_for_writing_is_the_same(made_once: Any, tmp_path: Path) -> None:
    folder = folder_of("T5Gemma", made_once)
    model = T5GemmaForConditionalGeneration(AutoConfig.from_pretrained(folder))
    model.model.load_state_dict(AutoModel.from_pretrained(folder).state_dict())
    model.save_pretrained(tmp_path / "writes")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "writes" / name).write_bytes((folder / name).read_bytes())
    require_folder(tmp_path / "writes")
    state, expected = (load_encoder(str(one), None).state_dict() for one in (tmp_path / "writes", folder))
    assert state.keys() == expected.keys() and all(torch.equal(state[name], expected[name]) for name in state)


def test_a_trained_side_opens_with_transformers(made_once: Any, tmp_path: Path) -> None:
    for name in ("mT5", "T5Gemma"):
        stage = trained(folder_of(name, made_once), tmp_path / name)
        theirs, own = (
            AutoModelForTextEncoding.from_pretrained(stage / "encoder"),
            load_encoder(str(stage / "encoder"), None),
        )
        assert all(torch.equal(tensor, own.state_dict()[key]) for key, tensor in theirs.state_dict().items())


def test_lists_of_families_name_what_is_tried() -> None:
    assert {family.model_type for family in FAMILIES.values()} == families.TRIMMED
    assert families.STACKS | families.ENCODER_SIDES | families.MASK_FROM_IDS <= families.TRIMMED
    assert families.OFFSET_POSITIONS - families.REFUSED.keys() <= families.TRIMMED


SHAPE = architectures.SHAPE
OTHERS = {
    "fnet": (SHAPE, "cannot be run|different states"),
    "convbert": (SHAPE | {"embedding_size": 32}, "gives a text different states when batched with a longer one"),
    "gemma3_text": (architectures.GEMMA_SHAPE, "reads from left to right"),
    "qwen3": (SHAPE | {"num_key_value_heads": 2, "head_dim": 16}, "reads from left to right"),
    "xmod": (SHAPE | {"languages": ["en_XX"]}, "of type 'xmod' has weights of each language"),
    "canine": (SHAPE, "of type 'canine' reads characters"),
    "bart": ({"d_model": 32, "encoder_layers": 1, "decoder_layers": 1}, "of type 'bart' has an encoder and a decoder"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_what_cannot_be_used_is_refused_in_one_message_before_any_stage(kind: str, world: Path, tmp_path: Path) -> None:
    config, message = OTHERS[kind]
    architectures.write(Family(kind, architectures.XLMR_WORDS, config), tmp_path / "encoder")
    recipe = small_world.recipe(
        encoder=str(tmp_path / "encoder"),
        targets=(Target(task="twins", training=Training(max_length=64)),),
        allow_unknown=True,
    )
    with pytest.raises(UsageError, match=message) as caught:
        api.run(recipe, data=world, store=world / "store")
    assert str(tmp_path / "encoder") in str(caught.value) and len(str(caught.value).splitlines()) == 2
    assert not list((world / "store").glob("encoder/**/stage.json"))
    if kind in families.REFUSED or kind == "bart":
        with pytest.raises(UsageError, match=message):
            evaluation(str(tmp_path / "encoder"), tasks=("xnli",))


def test_what_nobody_has_tried_is_used_when_it_passes_and_trained_whole(tmp_path: Path) -> None:
    folder = architectures.write(Family("roformer", architectures.BERT_WORDS), tmp_path / "encoder")
    require_encoder(str(folder), None)
    stage = trained(folder, tmp_path / "stage")
    assert "nobody has tried" in (stage / "training.json").read_text()
    odd = architectures.write(Family("bert", architectures.BERT_WORDS, SHAPE | {"hidden_size": 36}), tmp_path / "odd")
    assert vocabulary.trim(load_encoder(str(odd), None), np.arange(9)) is None


def test_the_page_is_that_of_the_families() -> None:
    page = Path(__file__).parents[2] / "docs" / "architectures.md"
    assert page.read_text(encoding="utf-8") == architectures.page()
