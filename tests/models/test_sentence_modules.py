"""The modules of sentence encoders' makers: read from their files, and computed as they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sentence_folder
import torch
from safetensors.torch import save_file

from viaduct.errors import UsageError
from viaduct.models.sentences import SentenceModules, pool
from viaduct.runs.sentence_encoder import makers_of

MASK_BL = torch.tensor([[True, True, True], [True, True, False]])


def test_pooling_looks_at_real_tokens_only() -> None:
    hidden_BLD = torch.tensor([[[1.0, -1.0], [2.0, -2.0], [3.0, -3.0]], [[1.0, -4.0], [3.0, -6.0], [99.0, 99.0]]])
    expected = {
        "mean": [[2.0, -2.0], [2.0, -5.0]],
        "max": [[3.0, -1.0], [3.0, -4.0]],
        "first": [[1.0, -1.0], [1.0, -4.0]],
        "last": [[3.0, -3.0], [3.0, -6.0]],
    }
    for how, values in expected.items():
        assert pool(hidden_BLD, MASK_BL, how).tolist() == values
        assert pool(hidden_BLD[:1], None, how).tolist() == values[:1]


@pytest.mark.parametrize("weights", ["safetensors", "bin"])
def test_dense_modules_come_after_the_pooling(tmp_path: Path, weights: str) -> None:
    folder = sentence_folder.write(tmp_path / "st", width=4, pooling=("cls_token", "mean_tokens"), dense=3)
    state = {"linear.weight": torch.randn(3, 8), "linear.bias": torch.randn(3)}
    (folder / "2_Dense" / "model.safetensors").unlink()
    if weights == "bin":
        torch.save(state, folder / "2_Dense" / "pytorch_model.bin")
    else:
        save_file(state, folder / "2_Dense" / "model.safetensors")
    makers = makers_of(str(folder), None)
    assert makers is not None and makers.pooling == ("first", "mean")
    modules = SentenceModules(makers, 4)
    hidden_BLD = torch.randn(2, 3, 4)
    pooled = torch.cat([pool(hidden_BLD, MASK_BL, "first"), pool(hidden_BLD, MASK_BL, "mean")], dim=1)
    expected = torch.tanh(pooled @ state["linear.weight"].T + state["linear.bias"])
    torch.testing.assert_close(modules(hidden_BLD, MASK_BL), expected)
    assert modules.width == 3
    with pytest.raises(UsageError, match="takes 8 values and gives Tanh of them; there are 10"):
        SentenceModules(makers, 5)
    (folder / "2_Dense" / "config.json").write_text(json.dumps(sentence_folder.dense_config(8, 3) | {"bias": False}))
    with pytest.raises(UsageError, match="does not hold the weights"):
        SentenceModules(makers, 4)


def test_what_the_makers_say_is_read(tmp_path: Path) -> None:
    folder = sentence_folder.write(tmp_path / "st", width=4, dense=2, prompts={"query": "query: ", "STS": "same: "})
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 9, "do_lower_case": true}')
    makers = makers_of(str(folder), None)
    assert makers is not None
    assert (makers.prompt, makers.lower, makers.max_length, makers.dense) == ("same: ", True, 9, ("2_Dense",))
    assert [name for name, _ in makers.files] == ["2_Dense/config.json", "2_Dense/model.safetensors"]
    expected = "the makers' modules: mean pooling, 1 dense module, normalised, prompt 'same: '"
    assert makers.words() == expected
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode": "lasttoken"}')
    settings = {"prompts": {"query": "q", "x": "X "}, "default_prompt_name": "x"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))
    newer = makers_of(str(folder), None)
    assert newer is not None and (newer.pooling, newer.prompt) == (("last",), "X ")
    assert makers_of(str(tmp_path), None) is None, "an encoder of another kind"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("modules.json", [{"type": "a.Transformer", "path": ""}, {"type": "a.CNN", "path": ""}], "a module 'CNN'"),
        ("modules.json", [{"type": "a.Transformer", "path": ""}], "no order that is supported"),
        ("modules.json", "[", "is no JSON"),
        ("modules.json", {"a": 1}, "is no list of modules"),
        (
            "1_Pooling/config.json",
            {"pooling_mode_weightedmean_tokens": True},
            "pooling_mode_weightedmean_tokens' is not",
        ),
        (
            "1_Pooling/config.json",
            {"pooling_mode_mean_tokens": True, "include_prompt": False},
            "not without the prompt",
        ),
        ("1_Pooling/config.json", None, r"has no 1_Pooling/config\.json"),
        ("2_Dense/model.safetensors", None, r"has no 2_Dense/model\.safetensors"),
    ],
)
def test_what_cannot_be_used_as_it_is_meant_is_refused(tmp_path: Path, name: str, content: Any, message: str) -> None:
    folder = sentence_folder.write(tmp_path / "st", width=4, dense=2)
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(UsageError, match=message) as raised:
        makers_of(str(folder), None)
    assert "retrieval.layers" in str(raised.value) or "download" in str(raised.value)
