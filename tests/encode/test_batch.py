from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from viaduct.encode.batch import collate, padding_fraction, plan_batches
from viaduct.encode.tokens import Encoded, Limits
from viaduct.heads.tagged import word_positions
from viaduct.runs.sizes import PREDICTION_TOKENS


def premises(count: int = 12_000) -> tuple[np.ndarray, np.ndarray]:
    """Lengths like MultiNLI's: log-normal, 37 tokens on average, cut at 128; one sequence each."""
    spread = 0.5
    drawn = np.random.default_rng(1).lognormal(np.log(37) - spread**2 / 2, spread, count)
    return np.clip(np.rint(drawn), 5, 128).astype(np.int64), np.ones(count, dtype=np.int64)


SIZES = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 4)), max_size=80)


@settings(deadline=None)
@given(sizes=SIZES, batch_tokens=st.integers(1, 300), seed=st.one_of(st.none(), st.integers(0, 5)))
def test_every_example_is_in_one_batch_within_the_budget(
    sizes: list[tuple[int, int]], batch_tokens: int, seed: int | None
) -> None:
    lengths, widths = (np.array([size[at] for size in sizes], dtype=np.int64) for at in (0, 1))
    batches = plan_batches(lengths, widths, batch_tokens, seed)
    assert sorted(example for batch in batches for example in batch) == list(range(len(sizes)))
    for batch in batches:
        assert len(batch) == 1 or lengths[batch].max() * widths[batch].sum() <= batch_tokens
    again = plan_batches(lengths, widths, batch_tokens, seed)
    assert [batch.tolist() for batch in batches] == [batch.tolist() for batch in again]


def test_another_seed_gives_another_order() -> None:
    lengths, widths = premises(500)
    plans = [[batch.tolist() for batch in plan_batches(lengths, widths, 512, seed)] for seed in (1, 2)]
    assert plans[0] != plans[1]
    assert sorted(map(sorted, plans[0])) != sorted(map(sorted, plans[1])), "only the order of the batches differs"


def test_training_order_is_mixed_and_prediction_goes_from_long_to_short() -> None:
    lengths, widths = premises(3000)
    longest = [lengths[batch].max() for batch in plan_batches(lengths, widths, 512, 1)]
    falls = np.diff(longest) < 0
    assert 0.4 < falls.mean() < 0.6
    predicting = [lengths[batch] for batch in plan_batches(lengths, widths, 512, None)]
    assert (np.diff(np.concatenate(predicting)) <= 0).all()


@pytest.mark.parametrize(("batch_tokens", "seed", "most"), [(2048, 1, 0.10), (PREDICTION_TOKENS, None, 0.03)])
def test_there_is_next_to_no_padding(batch_tokens: int, seed: int | None, most: float) -> None:
    lengths, widths = premises()
    assert 36 < lengths.mean() < 38
    assert padding_fraction(lengths, widths, plan_batches(lengths, widths, batch_tokens, seed)) < most


@pytest.mark.parametrize(("rows", "most"), [(100, 0.05), (1000, 0.03), (5000, 0.03)])
def test_prediction_pads_little_for_small_sets_too(rows: int, most: float) -> None:
    lengths, widths = premises(rows)
    assert padding_fraction(lengths, widths, plan_batches(lengths, widths, PREDICTION_TOKENS, None)) < most


def test_padding_is_counted_in_slots() -> None:
    lengths, widths = np.array([4, 1, 2]), np.array([1, 2, 1])
    assert padding_fraction(lengths, widths, [np.array([0, 1]), np.array([2])]) == pytest.approx(1 - 8 / 14)
    assert padding_fraction(lengths, widths, []) == 0.0


def sequence(encoded: Encoded, at: int) -> list[int]:
    return encoded.ids[encoded.offsets[at] : encoded.offsets[at + 1]].tolist()


@pytest.mark.parametrize("kind", list(tiny.CARDS))
def test_a_batch_holds_the_examples_it_was_made_of(tiny_tokenizer: Any, kind: str) -> None:
    encoded = tiny.encode(tiny.rows(kind, 9), tiny_tokenizer, tiny.CARDS[kind].labels, Limits(40, 8))
    examples = np.array([5, 0, 3])
    batch = collate(encoded, examples, tiny_tokenizer.pad_token_id)
    wanted = [sequence(encoded, at) for one in examples for at in range(encoded.groups[one], encoded.groups[one + 1])]
    mask_BL = batch.ids_BL.new_ones(batch.ids_BL.shape).bool() if batch.mask_BL is None else batch.mask_BL
    assert [ids[mask].tolist() for ids, mask in zip(batch.ids_BL, mask_BL, strict=True)] == wanted
    assert (batch.ids_BL[~mask_BL] == tiny_tokenizer.pad_token_id).all()
    assert batch.tokens == sum(map(len, wanted)) == mask_BL.sum()
    assert batch.ids_BL.shape[1] == max(map(len, wanted))
    assert batch.examples.tolist() == examples.tolist()


def test_a_batch_without_padding_has_no_mask_and_types_are_padded_with_zeros(tiny_tokenizer: Any) -> None:
    typed = tiny.typed_tokenizer(tiny_tokenizer)
    encoded = tiny.encode(tiny.rows("pair", 5), typed, (), Limits(40))
    assert collate(encoded, np.array([2]), 1).mask_BL is None
    batch = collate(encoded, np.array([0, 4]), 1)
    flat = np.concatenate([np.arange(encoded.offsets[at], encoded.offsets[at + 1]) for at in (0, 4)])
    assert batch.types_BL[batch.mask_BL].tolist() == encoded.fields["types"][flat].tolist()
    assert (batch.types_BL[~batch.mask_BL] == 0).all()


def test_word_positions_point_at_first_pieces(tiny_tokenizer: Any) -> None:
    rows = tiny.rows("tagged", 6)
    encoded = tiny.encode(rows, tiny_tokenizer, ("NOUN", "ADJ", "NUM"), Limits(64))
    batch = collate(encoded, np.array([4, 1]), 1)
    rows_W, columns_W, tags_W = word_positions(encoded, batch, "tag")
    words = [word for at in (4, 1) for word in rows[at].tokens]
    first = [
        tiny_tokenizer([word], is_split_into_words=True, add_special_tokens=False)["input_ids"][0] for word in words
    ]
    assert batch.ids_BL[rows_W, columns_W].tolist() == first
    assert tags_W.tolist() == [("NOUN", "ADJ", "NUM").index(tag) for at in (4, 1) for tag in rows[at].tags]
