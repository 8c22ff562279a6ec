"""The modules of sentence encoders' makers: read from their files and computed as specified there."""

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

DENSE = sentence_folder.dense_config(4, 2)
PACKAGE = "sentence_transformers.models"
ELSEWHERE = [{"type": f"{PACKAGE}.Transformer", "path": "0_Transformer"}, {"type": f"{PACKAGE}.Pooling", "path": "1"}]

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


def test_weighted_poolings_are_sums_over_the_tokens_of_a_sentence() -> None:
    """Compared with their formulas, token by token, whatever a batch is padded with."""
    torch.manual_seed(1)
    lengths = (4, 1, 3)
    hidden_BLD = torch.randn(3, 4, 5, dtype=torch.float64)
    mask_BL = torch.tensor([[at < length for at in range(4)] for length in lengths])
    for row, length in enumerate(lengths):
        tokens = [hidden_BLD[row, at] for at in range(length)]
        weighted = sum(((at + 1) * token for at, token in enumerate(tokens)), torch.zeros(5))
        expected = {
            "weighted_mean": weighted / sum(range(1, length + 1)),
            "mean_sqrt_len": sum(tokens, torch.zeros(5)) / length**0.5,
        }
        for how, vector in expected.items():
            torch.testing.assert_close(pool(hidden_BLD, mask_BL, how)[row], vector)
            torch.testing.assert_close(pool(hidden_BLD[row : row + 1, :length], None, how)[0], vector)


def test_several_poolings_stand_in_the_order_of_the_makers_package(tmp_path: Path) -> None:
    """Older files have a flag for each, in an order that does not count; newer ones list them."""
    folder = sentence_folder.write(tmp_path / "st", width=4)
    modes = ("lasttoken", "weightedmean_tokens", "mean_sqrt_len_tokens", "mean_tokens", "max_tokens", "cls_token")
    config = {f"pooling_mode_{name}": True for name in modes} | {"word_embedding_dimension": 4}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(config))
    older = makers_of(str(folder), None)
    assert older is not None
    assert older.pooling == ("first", "max", "mean", "mean_sqrt_len", "weighted_mean", "last")
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode": ["weightedmean", "cls"]}')
    newer = makers_of(str(folder), None)
    assert newer is not None and newer.pooling == ("weighted_mean", "first")
    (folder / "config_sentence_transformers.json").write_text("[]")
    with pytest.raises(UsageError, match=r"config_sentence_transformers\.json is not a JSON object"):
        makers_of(str(folder), None)


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
    with pytest.raises(UsageError, match="takes 8 values; there are 10"):
        SentenceModules(makers, 5)
    (folder / "2_Dense" / "config.json").write_text(json.dumps(sentence_folder.dense_config(8, 3) | {"bias": False}))
    with pytest.raises(UsageError, match="does not hold the weights"):
        SentenceModules(makers, 4)
    (folder / "2_Dense" / "config.json").write_text(json.dumps(sentence_folder.dense_config(8, 3)))
    state["linear.weight"][0, 0] = float("nan")
    name = next(path for path in (folder / "2_Dense").iterdir() if path.suffix != ".json")
    torch.save(state, name) if weights == "bin" else save_file(state, name)
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
        (
            "modules.json",
            [{"type": f"{PACKAGE}.Transformer", "path": ""}, {"type": "a.CNN", "path": ""}],
            "a module 'a.CNN'",
        ),
        ("modules.json", [{"type": f"{PACKAGE}.Transformer", "path": ""}], "is not a supported order"),
        ("modules.json", "[", "is not JSON"),
        ("modules.json", {"a": 1}, "is not a JSON list"),
        (
            "1_Pooling/config.json",
            {"pooling_mode_attention": True},
            "pooling 'pooling_mode_attention' is not",
        ),
        (
            "1_Pooling/config.json",
            {"pooling_mode_mean_tokens": True, "include_prompt": False},
            "not without the prompt",
        ),
        ("1_Pooling/config.json", None, r"has no 1_Pooling/config\.json"),
        ("2_Dense/model.safetensors", None, r"has no 2_Dense/model\.safetensors"),
        ("2_Dense/model.safetensors", "cut", r"2_Dense/model\.safetensors is not a safetensors file"),
        ("2_Dense/config.json", "[]", r"2_Dense/config\.json is not a JSON object"),
        (
            "2_Dense/config.json",
            {"in_features": 4},
            r"2_Dense/config\.json: a dense module takes 4 values and gives None",
        ),
        ("2_Dense/config.json", DENSE | {"in_features": 5}, r"takes 5 values .* its weights are \(2, 4\)"),
        ("2_Dense/config.json", DENSE | {"activation_function": "torch.nn.Mish"}, "the activation Mish is not one of"),
        ("2_Dense/config.json", DENSE | {"use_residual": True}, "with a residual, or of tokens, is not"),
        ("2_Dense/config.json", DENSE | {"module_input_name": "token_embeddings"}, "with a residual, or of tokens"),
        ("modules.json", [{"type": "custom_st.Transformer", "path": ""}], "a module 'custom_st.Transformer'"),
        ("modules.json", ELSEWHERE, r"an encoder in another folder \(0_Transformer\)"),
        ("modules.json", "version https://git-lfs.github.com/spec/v1", r"modules\.json is a Git LFS pointer"),
        ("sentence_bert_config.json", {"max_seq_length": 0}, "max_seq_length 0 is not a length"),
        ("config_sentence_transformers.json", {"prompts": {"query": 5}}, "prompts are not texts by name"),
    ],
)
def test_what_cannot_be_used_as_it_is_meant_is_refused(tmp_path: Path, name: str, content: Any, message: str) -> None:
    folder = sentence_folder.write(tmp_path / "st", width=4, dense=2)
    (folder / name).unlink(missing_ok=True)
    if content is not None:
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(UsageError, match=message) as raised:
        makers_of(str(folder), None)
    assert any(way in str(raised.value) for way in ("retrieval.layers", "git lfs pull", "download"))
