from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from viaduct.encode.batch import collate
from viaduct.encode.tokens import Limits
from viaduct.errors import StoreError, UsageError
from viaduct.heads.head import HeadSpec, TaskModel, build_head, head_spec, load_head, save_head
from viaduct.models.numerics import derived_seed, prepare, seed_all

SPECS = [
    HeadSpec("pair", ("no", "yes", "перхаps")),
    HeadSpec("tagged", ("A", "B")),
    HeadSpec("span", ()),
    HeadSpec("choice", ()),
]


@pytest.mark.parametrize(
    ("spec", "last"), list(zip(SPECS, [(3,), (2,), (2,), (1,)], strict=True)), ids=[spec.kind for spec in SPECS]
)
def test_logits_have_the_shape_of_their_task(tiny_tokenizer: Any, spec: HeadSpec, last: tuple[int, ...]) -> None:
    encoded = tiny.encode(tiny.rows(spec.kind, 4), tiny_tokenizer, (), Limits(64, 16))
    batch = collate(encoded, np.arange(len(encoded)), tiny_tokenizer.pad_token_id)
    model = TaskModel(tiny.encoder(tiny_tokenizer), build_head(spec, 32, 0.1))
    sequences, longest = batch.ids_BL.shape
    per_token = spec.kind in ("tagged", "span")
    assert model(batch).shape == ((sequences, longest, *last) if per_token else (sequences, *last))
    assert sequences == len(encoded.offsets) - 1


@pytest.mark.parametrize("spec", SPECS, ids=[spec.kind for spec in SPECS])
def test_a_saved_head_comes_back(spec: HeadSpec, tmp_path: Path) -> None:
    head = build_head(spec, 32, 0.1).eval()
    save_head(head, spec, tmp_path)
    loaded, found = load_head(tmp_path, 32, 0.0)
    hidden_BLD = torch.randn(2, 5, 32)
    assert found == spec
    assert torch.equal(loaded.eval()(hidden_BLD), head(hidden_BLD))
    assert {path.name for path in tmp_path.iterdir()} == {"head.json", "head.safetensors"}


def test_a_missing_head_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no trained head"):
        load_head(tmp_path, 32, 0.0)


def test_new_heads_come_from_the_seed() -> None:
    weights = []
    for seed in (1, 1, 2):
        seed_all("head", seed)
        weights.append(build_head(SPECS[0], 32, 0.1).state_dict()["dense.weight"])
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_cards_name_their_head_and_text_has_none() -> None:
    for kind in ("pair", "tagged", "span", "choice"):
        assert head_spec(tiny.CARDS[kind]) == HeadSpec(kind, tiny.CARDS[kind].labels)
    with pytest.raises(UsageError, match="no head to train"):
        head_spec(tiny.card("retrieval"))


def test_seeds_of_different_uses_are_unrelated_and_fixed() -> None:
    assert derived_seed("order", 1, 2) != derived_seed("order", 12) != derived_seed("step", 1, 2)
    assert derived_seed("head", 1) == 5943455359196808938
    assert 0 <= derived_seed("x") < 2**63


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert prepare("auto", 1).type == "cpu"
    with pytest.raises(UsageError, match="no CUDA device"):
        prepare("cuda", 1)
