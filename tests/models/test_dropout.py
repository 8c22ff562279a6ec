from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from viaduct.models import dropout
from viaduct.models.dropout import FastDropout, attention, dropped, use_fast_dropout
from viaduct.models.encoder import build_encoder
from viaduct.runs.spec import Architecture

SMALL = Architecture(layers=2, hidden=32, heads=2, feed_forward=64, dropout=0.1)


@pytest.mark.parametrize("probability", [0.1, 0.25, 0.5])
def test_as_many_elements_are_dropped_as_asked_and_the_mean_stays(probability: float) -> None:
    torch.manual_seed(1)
    output = dropped(torch.ones(1000, 1001), probability)
    share = (output == 0).float().mean().item()
    assert share == pytest.approx(probability, abs=0.002)  # four standard errors are 0.002
    assert output.mean().item() == pytest.approx(1.0, abs=0.005)
    assert output.max().item() == pytest.approx(1 / (1 - probability), rel=1e-4)


def test_rows_and_columns_are_dropped_independently() -> None:
    torch.manual_seed(2)
    kept = (dropped(torch.ones(400, 400), 0.5) != 0).double()
    for values in (kept, kept.T, kept.reshape(-1, 4).T.reshape(4, -1)):
        correlation = torch.corrcoef(values[:4])
        assert (correlation - torch.eye(4, dtype=torch.double)).abs().max() < 0.25


def test_the_gradient_goes_where_the_value_went() -> None:
    torch.manual_seed(3)
    input = torch.ones(7, 5, 3, requires_grad=True)
    output = dropped(input, 0.5)
    output.sum().backward()
    assert input.grad is not None and torch.equal(input.grad, output.detach())
    assert 0 < (output == 0).sum() < output.numel()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("turned", [False, True])
def test_values_and_gradients_are_those_of_the_plain_product_in_every_format(dtype: torch.dtype, turned: bool) -> None:
    values, gradient = (torch.randn(2, 33, 21, generator=torch.manual_seed(seed)).to(dtype) for seed in (7, 8))
    if turned:
        values, gradient = values.transpose(1, 2), gradient.transpose(1, 2)
    torch.manual_seed(9)
    kept = dropped(torch.ones(values.shape), 0.3) != 0
    assert 0.2 < 1 - kept.double().mean() < 0.4
    torch.manual_seed(9)
    values.requires_grad_()
    output = dropped(values, 0.3)
    output.backward(gradient)
    scale = 2**16 / (2**16 - round(0.3 * 2**16))
    assert output.dtype == dtype and values.grad is not None
    assert torch.equal(output, values * kept * scale) and torch.equal(values.grad, gradient * kept * scale)


def test_a_seed_gives_the_same_again_and_another_one_does_not() -> None:
    torch.manual_seed(4)
    first = dropped(torch.ones(100), 0.5)
    torch.manual_seed(4)
    assert torch.equal(first, dropped(torch.ones(100), 0.5))
    assert not torch.equal(first, dropped(torch.ones(100), 0.5))


@pytest.mark.parametrize("shape", [(0,), (1,), (3, 0), (5, 3)])
def test_any_shape_stays(shape: tuple[int, ...]) -> None:
    assert dropped(torch.ones(shape), 0.5).shape == shape


def test_nothing_is_dropped_in_evaluation() -> None:
    assert torch.equal(FastDropout(0.5).eval()(torch.ones(50)), torch.ones(50))


@pytest.mark.parametrize("cached", [dropout.CACHED_WEIGHTS, 1])
@pytest.mark.parametrize("kind", ["none", "boolean", "additive"])
def test_attention_is_torchs_where_next_to_nothing_is_dropped(
    kind: str, cached: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dropout, "CACHED_WEIGHTS", cached)
    monkeypatch.setattr(dropout, "dropped", lambda input, probability: input)
    torch.manual_seed(5)
    query, key, value = (torch.randn(3, 2, 6, 8, dtype=torch.float64, requires_grad=True) for _ in range(3))
    seen = torch.ones(3, 1, 6, 6, dtype=torch.bool)
    seen[1, :, :, 4:] = False
    seen[2, :, 2:, 5] = False
    mask = {"none": None, "boolean": seen, "additive": torch.zeros(3, 1, 6, 6, dtype=torch.float64)}[kind]
    if kind == "additive" and mask is not None:
        mask = mask.masked_fill(~seen, float("-inf"))
    module = torch.nn.Module()
    module.is_causal = False
    ours, _ = attention(module, query, key, value, mask, dropout=0.1, scaling=0.3)
    theirs = scaled_dot_product_attention(query, key, value, mask, scale=0.3).transpose(1, 2)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    weights = torch.randn_like(ours)
    own = torch.autograd.grad((ours * weights).sum(), (query, key, value))
    other = torch.autograd.grad((theirs * weights).sum(), (query, key, value))
    for one, two in zip(own, other, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("mask", [None, torch.ones(1, 1, 64, 64, dtype=torch.bool).tril()])
def test_attention_for_a_few_sequences_at_a_time_is_that_for_all_to_the_bit(
    precision: torch.dtype, mask: torch.Tensor | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, found = torch.nn.Module(), []
    module.is_causal = False
    for cached in (10**9, 30_000):
        monkeypatch.setattr(dropout, "CACHED_WEIGHTS", cached // torch.get_num_threads())
        torch.manual_seed(8)
        given = [torch.randn(9, 4, 64, 8).to(precision).requires_grad_() for _ in range(3)]
        output, _ = attention(module, *given, mask, dropout=0.1)
        found.append((output, *torch.autograd.grad(output.float().square().sum(), given)))
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_the_expected_output_of_attention_is_that_without_dropout() -> None:
    torch.manual_seed(6)
    query, key, value = (torch.randn(1, 2, 5, 4) for _ in range(3))
    module = torch.nn.Module()
    module.is_causal = False
    drawn = [attention(module, query, key, value, None, dropout=0.2)[0] for _ in range(4000)]
    exact = scaled_dot_product_attention(query, key, value).transpose(1, 2)
    torch.testing.assert_close(torch.stack(drawn).mean(0), exact, rtol=0, atol=0.05)


def _causal(module: torch.nn.Module) -> dict[str, Any]:
    module.is_causal = True
    return {}


def _grouped(module: torch.nn.Module) -> dict[str, Any]:
    module.num_key_value_groups = 2
    return {}


def _asked(module: torch.nn.Module) -> dict[str, Any]:
    return {"is_causal": True}


@pytest.mark.parametrize("special", [_causal, _grouped, _asked])
def test_what_an_encoder_does_not_do_is_left_to_torch(special: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dropout, "dropped", lambda input, probability: pytest.fail("written out"))
    module = torch.nn.Module()
    module.is_causal = False
    others = special(module)
    heads = 4 if special is _grouped else 2
    query, key, value = torch.randn(1, heads, 5, 4), torch.randn(1, 2, 5, 4), torch.randn(1, 2, 5, 4)
    output, _ = attention(module, query, key, value, None, dropout=0.1, **others)
    assert output.shape == (1, 5, heads, 4)


def test_an_encoder_in_evaluation_is_transformers_own_to_the_bit() -> None:
    torch.manual_seed(7)
    encoder: Any = build_encoder(SMALL, 50, 1).eval()
    ids, mask = torch.randint(5, 50, (3, 9)), torch.ones(3, 9, dtype=torch.bool)
    mask[1, 4:] = False
    with torch.inference_mode():
        ours = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        encoder.set_attn_implementation("sdpa")
        theirs = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
    assert torch.equal(ours, theirs)


def test_padding_is_not_seen_in_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dropout, "dropped", lambda input, probability: input)
    torch.manual_seed(8)
    encoder: Any = build_encoder(SMALL, 50, 1).train()
    ids, mask = torch.randint(5, 50, (2, 9)), torch.ones(2, 9, dtype=torch.bool)
    mask[:, 6:] = False
    states = encoder(input_ids=ids, attention_mask=mask).last_hidden_state[:, :6]
    alone = encoder(input_ids=ids[:, :6], attention_mask=None).last_hidden_state
    torch.testing.assert_close(states, alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["bert", "xlm-roberta", "distilbert", "electra", "mpnet"])
def test_other_architectures_train_with_it(kind: str) -> None:
    from transformers import AutoConfig, AutoModel

    names = {"n_layers": 2, "dim": 32, "n_heads": 2, "hidden_dim": 64} if kind == "distilbert" else {}
    config = AutoConfig.for_model(
        kind,
        **(names or {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}),
        vocab_size=60,
    )
    model: Any = use_fast_dropout(AutoModel.from_config(config)).train()
    ids, mask = torch.randint(5, 60, (2, 7)), torch.ones(2, 7, dtype=torch.int64)
    mask[0, 5:] = 0
    first, second = (model(input_ids=ids, attention_mask=mask).last_hidden_state for _ in range(2))
    assert torch.isfinite(first).all() and not torch.equal(first, second)
    first.sum().backward()
    assert all(parameter.grad is None or torch.isfinite(parameter.grad).all() for parameter in model.parameters())


def test_a_saved_encoder_says_nothing_of_it(tmp_path: Any) -> None:
    encoder: Any = build_encoder(SMALL, 50, 1)
    encoder.save_pretrained(tmp_path)
    assert dropout.ATTENTION not in (tmp_path / "config.json").read_text()


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_nothing_and_everything_can_be_dropped(probability: float) -> None:
    assert torch.equal(dropped(torch.ones(20), probability), torch.full((20,), 1 - probability))
