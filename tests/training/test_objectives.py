from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy, log_softmax

from viaduct.encode.batch import Batch, collate, plan_batches
from viaduct.encode.tokens import Encoded, Limits
from viaduct.heads.head import Head, TaskModel, build_head, head_of, head_spec
from viaduct.models import language
from viaduct.models.language import MaskedLanguageHead
from viaduct.training.masking import LONGEST_WORD, Masking, first_pieces

MASK, VOCABULARY = 4, 1000
SPECIAL = torch.arange(VOCABULARY) < 5


def masked(
    ids_BL: torch.Tensor, mask_BL: torch.Tensor | None, fraction: float = 0.15
) -> tuple[torch.Tensor, torch.Tensor]:
    return Masking(fraction, MASK, SPECIAL)(ids_BL, mask_BL)


def test_masking_takes_15_percent_of_which_80_10_10() -> None:
    torch.manual_seed(1)
    ids_BL = torch.randint(5, VOCABULARY, (400, 250))
    given_ids = ids_BL.clone()
    masked_BL, chosen_BL = masked(ids_BL, None)
    count = chosen_BL.sum().item()
    assert count / ids_BL.numel() == pytest.approx(0.15, abs=0.005)
    is_mask, is_same = masked_BL[chosen_BL] == MASK, masked_BL[chosen_BL] == ids_BL[chosen_BL]
    assert is_mask.sum().item() / count == pytest.approx(0.8, abs=0.015)
    assert is_same.sum().item() / count == pytest.approx(0.1, abs=0.015)
    assert (~is_mask & ~is_same).sum().item() / count == pytest.approx(0.1, abs=0.015)
    random = masked_BL[chosen_BL][~is_mask & ~is_same].float()
    assert random.mean().item() == pytest.approx(VOCABULARY / 2, rel=0.05)
    assert torch.equal(masked_BL[~chosen_BL], ids_BL[~chosen_BL])
    assert torch.equal(ids_BL, given_ids), "the batch itself was changed; its ids are the targets"


@settings(deadline=None)
@given(
    ids=st.lists(st.lists(st.integers(0, 30), min_size=6, max_size=6), min_size=1, max_size=5),
    lengths=st.lists(st.integers(1, 6), min_size=5, max_size=5),
    fraction=st.sampled_from([0.0, 0.15, 1.0]),
    seed=st.integers(0, 100),
)
def test_special_tokens_and_padding_are_never_chosen(
    ids: list[list[int]], lengths: list[int], fraction: float, seed: int
) -> None:
    torch.manual_seed(seed)
    ids_BL = torch.tensor(ids)
    mask_BL = torch.arange(6)[None, :] < torch.tensor(lengths[: len(ids)])[:, None]
    masked_BL, chosen_BL = masked(ids_BL, mask_BL, fraction)
    candidates_BL = mask_BL & (ids_BL > 4)
    if candidates_BL.any():
        assert chosen_BL.any()
        assert not (chosen_BL & ~candidates_BL).any()
    if fraction == 1.0 and candidates_BL.any():
        assert torch.equal(chosen_BL, candidates_BL)
    assert torch.equal(masked_BL[~chosen_BL], ids_BL[~chosen_BL])


@settings(deadline=None)
@given(
    starts=st.lists(st.lists(st.booleans(), min_size=9, max_size=9), min_size=1, max_size=4), seed=st.integers(0, 100)
)
def test_whole_words_are_masked_or_left_together(starts: list[list[bool]], seed: int) -> None:
    """Compared with a walk over each row: a word ends where the next starts, and after LONGEST_WORD pieces."""
    torch.manual_seed(seed)
    # Two vocabulary entries per position, one that begins a word and one that does not.
    ids_BL = torch.tensor([[5 + at * 2 + start for at, start in enumerate(row)] for row in starts])
    starts_V = torch.arange(VOCABULARY) % 2 == 0
    _, chosen_BL = Masking(0.4, MASK, SPECIAL, starts_V)(ids_BL, None)
    alone = bool(chosen_BL.sum() == 1)  # the one position that is always chosen in a batch
    for row, chosen in zip(starts, chosen_BL.tolist(), strict=True):
        words: list[list[bool]] = []
        for start, taken in zip(row, chosen, strict=True):
            if start or not words or len(words[-1]) == LONGEST_WORD:
                words.append([])
            words[-1].append(taken)
        assert alone or all(len(set(word)) == 1 for word in words)


def test_words_and_punctuation_begin_words(tiny_tokenizer: Any) -> None:
    one, two, three, *_ = tiny.LANGUAGES["en"]
    ids = tiny_tokenizer(f"{one}{two}{three}, {one}")["input_ids"]
    starts_V = Masking.of(tiny_tokenizer, 0.15, whole_words=True).starts_V
    assert starts_V is not None
    pieces = tiny_tokenizer.convert_ids_to_tokens(ids)
    assert pieces.index(",") > 2, "this test wants a first word of several pieces"
    found = [piece for piece, start in zip(pieces, starts_V[torch.tensor(ids)].tolist(), strict=True) if start]
    assert [found[0], found[-1]] == ["<s>", "</s>"]
    assert found[2] == ","
    assert [piece[0] for piece in found[1:-1]] == ["\u2581", ",", "\u2581"]
    assert first_pieces(torch.tensor([[True, False, True]])).tolist() == [[0, 0, 2]]


@pytest.mark.parametrize("count", [1, 7, 8, 20])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_chunked_softmax_is_the_plain_one(monkeypatch: pytest.MonkeyPatch, count: int, smoothing: float) -> None:
    monkeypatch.setattr(language, "CHUNK_ROWS", 7)
    monkeypatch.setattr(language, "PROBABILITY_ROWS", 3)
    torch.manual_seed(2)
    head = MaskedLanguageHead(50)
    torch.nn.init.normal_(head.bias)
    hidden_MD, embedding_VD = torch.randn(count, 8, requires_grad=True), torch.randn(50, 8, requires_grad=True)
    targets_M = torch.randint(0, 50, (count,))
    leaves = [hidden_MD, embedding_VD, *head.parameters()]
    chunked = head(hidden_MD, embedding_VD, targets_M, smoothing=smoothing)
    found = torch.autograd.grad(chunked / 3, leaves)
    logits_MV = hidden_MD @ embedding_VD.T + head.bias
    plain = cross_entropy(logits_MV, targets_M, reduction="sum", label_smoothing=smoothing)
    torch.testing.assert_close(chunked, plain)
    for one, other in zip(found, torch.autograd.grad(plain / 3, leaves), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(head(hidden_MD, embedding_VD, targets_M, smoothing=smoothing), plain)


def encoded_of(tokenizer: Any, kind: str, count: int = 10) -> Encoded:
    return tiny.encode(tiny.rows(kind, count), tokenizer, tiny.CARDS[kind].labels, Limits(64, 8))


def head(kind: str) -> Head:
    found = head_of(kind)
    assert found is not None
    return found


def whole_batch(encoded: Encoded) -> Batch:
    return collate(encoded, np.arange(len(encoded)), 1)


def test_losses_by_hand(tiny_tokenizer: Any) -> None:
    """Each loss is the sum over its units of -log p, with p from a softmax over only the allowed answers."""
    torch.manual_seed(4)
    encoded = encoded_of(tiny_tokenizer, "pair")
    logits = torch.randn(10, 2)
    labels = encoded.fields["label"]
    expected = -sum(log_softmax(logits[at], 0)[labels[at]] for at in range(10))
    torch.testing.assert_close(head("pair").loss(logits, encoded, whole_batch(encoded)), expected)

    encoded = encoded_of(tiny_tokenizer, "choice")
    logits = torch.randn(int(encoded.groups[-1]), 1)
    parts = [logits[encoded.groups[at] : encoded.groups[at + 1], 0] for at in range(10)]
    expected = -sum(log_softmax(part, 0)[encoded.fields["label"][at]] for at, part in enumerate(parts))
    torch.testing.assert_close(head("choice").loss(logits, encoded, whole_batch(encoded)), expected)

    encoded = encoded_of(tiny_tokenizer, "tagged")
    batch = whole_batch(encoded)
    logits = torch.randn(*batch.ids_BL.shape, 3)
    expected = -sum(
        log_softmax(logits[example, encoded.fields["first"][word]], 0)[encoded.fields["tag"][word]]
        for example in range(10)
        for word in range(encoded.word_ends[example], encoded.word_ends[example + 1])
    )
    torch.testing.assert_close(head("tagged").loss(logits, encoded, batch), expected)

    encoded = encoded_of(tiny_tokenizer, "span")
    batch = whole_batch(encoded)
    logits = torch.randn(*batch.ids_BL.shape, 2)
    expected = torch.zeros(())
    for example, length in enumerate(encoded.lengths):
        for side, name in enumerate(("start", "end")):
            expected -= log_softmax(logits[example, :length, side], 0)[encoded.fields[name][example]] / 2
    torch.testing.assert_close(head("span").loss(logits, encoded, batch), expected)


@pytest.mark.parametrize("kind", list(tiny.CARDS))
def test_the_batches_of_an_epoch_sum_to_the_full_batch(tiny_tokenizer: Any, kind: str) -> None:
    """For loss and gradient: so every row has the same weight, whatever its length and whatever it is batched with."""
    encoded = encoded_of(tiny_tokenizer, kind)
    torch.manual_seed(1)
    spec = head_spec(tiny.CARDS[kind])
    model = TaskModel(tiny.encoder(tiny_tokenizer), build_head(spec, 32, 0.0))
    model.eval()

    def total(parts: list[np.ndarray]) -> tuple[float, torch.Tensor]:
        model.zero_grad()
        value = 0.0
        for examples in parts:
            batch = collate(encoded, examples, 1)
            loss = head(kind).loss(model(batch), encoded, batch)
            loss.backward()
            value += loss.item()
        return value, torch.cat([parameter.grad.flatten() for parameter in model.parameters()])

    batches = plan_batches(encoded.lengths, encoded.widths, 32, seed=1)
    assert len(batches) >= 3
    value, gradient = total(batches)
    whole_value, whole_gradient = total([np.arange(len(encoded))])
    assert value == pytest.approx(whole_value, rel=1e-5)
    torch.testing.assert_close(gradient, whole_gradient, atol=2e-5, rtol=1e-3)


def test_units_count_words_in_tagging_and_examples_elsewhere(tiny_tokenizer: Any) -> None:
    assert head("pair").units(encoded_of(tiny_tokenizer, "pair")).tolist() == [1] * 10
    assert head("tagged").units(encoded_of(tiny_tokenizer, "tagged")).tolist() == [
        len(row.tokens) for row in tiny.rows("tagged", 10)
    ]
