"""The stage benchmarks' data: made-up rows of every type, a tokenizer that knows their pieces, and a stage's context.

A row's text consists of the names of its token ids, so that the stages run unmodified, from rows to weights, on ids
drawn from a stated distribution. Nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from training_rows import FIRST, LAST, PAD, UNKNOWN, Shape, draw_pieces

from viaduct.rows import Row
from viaduct.runs.rows import Loaded
from viaduct.runs.stage import Context, Progress, Work
from viaduct.tasks.card import Task
from viaduct.tasks.catalogue import Catalogue

SPECIAL = {"<s>": FIRST, "<pad>": PAD, "</s>": LAST, "<unk>": UNKNOWN}
INSIDE_WORDS = 3
"""Every third piece continues a word that another piece began."""


def piece(number: int) -> str:
    """The name of a token id."""
    return f"p{number}" if number % INSIDE_WORDS == 0 else f"▁p{number}"


def lengths(generator: np.random.Generator, count: int, mean: float, sigma: float, limits: tuple[int, int]) -> Any:
    """(count,) int: log-normal, with this mean and standard deviation of the logarithm, clipped to `limits`."""
    drawn = generator.lognormal(np.log(mean) - sigma**2 / 2, sigma, count)
    return np.clip(np.round(drawn), *limits).astype(int)


class Pieces:
    """Names of pieces in the order in which the seed draws them; texts take them one after another."""

    def __init__(self, shape: Shape, seed: int, count: int) -> None:
        self.names = [piece(one) for one in draw_pieces(shape, np.random.default_rng(seed), count).tolist()]
        self.used = 0

    def take(self, count: int) -> list[str]:
        """The next `count` names."""
        self.used += count
        if self.used > len(self.names):
            raise ValueError("more pieces are taken than were drawn")
        return self.names[self.used - count : self.used]

    def text(self, count: int) -> str:
        """A text of the next `count` pieces."""
        return " ".join(self.take(int(count)))


def tokenizer(shape: Shape) -> Any:
    """`<s> A </s>` and `<s> A </s></s> B </s>` over the names of all token ids; the last id is the mask."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    names = {piece(number): number for number in range(UNKNOWN + 1, shape.vocabulary - 1)}
    words = Tokenizer(WordLevel({**SPECIAL, **names, "<mask>": shape.vocabulary - 1}, unk_token="<unk>"))
    words.pre_tokenizer = WhitespaceSplit()
    words.post_processor = TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", FIRST), ("</s>", LAST)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        model_input_names=["input_ids", "attention_mask"],
        bos_token="<s>",
        cls_token="<s>",
        eos_token="</s>",
        sep_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        mask_token="<mask>",
    )


def write_encoder(shape: Shape, seed: int, folder: Path) -> None:
    """Write a folder with random weights of this shape, including the masked-LM head, and the tokenizer."""
    import torch
    from training_stock import model_config
    from transformers import XLMRobertaForMaskedLM

    torch.manual_seed(seed)
    XLMRobertaForMaskedLM(model_config(shape)).save_pretrained(folder)
    tokenizer(shape).save_pretrained(folder)


def card(name: str, kind: str, languages: tuple[str, ...] = ("en",), labels: tuple[str, ...] = ()) -> Task:
    """A card for rows that are generated here."""
    return Task(
        name=name,
        version=1,
        title=name,
        kind=kind,
        languages=languages,
        sources=(),
        metric=None,
        metrics=(),
        trained_on=None,
        licence="made up",
        citation="",
        labels=labels,
    )


def context(
    work: Work,
    folder: Path,
    rows: Mapping[tuple[str, str, str], Sequence[Row]],
    threads: int,
    progress: Progress,
    cards: Iterable[Task],
) -> Context:
    """A stage's context: these rows by (card, split, language), the encoder in `folder`, outputs below it as well."""

    def load(task: str, split: str, language: str) -> Loaded:
        return Loaded(tuple(rows[task, split, language]), None)

    made = Context(
        work=work,
        directory=folder / "output",
        scratch=folder / "scratch",
        inputs={},
        encoder=str(folder / "encoder"),
        revision=None,
        load=load,
        catalogue=Catalogue(cards),
        cache=folder / "cache",
        device="cpu",
        threads=threads,
        checkpoint_seconds=float("inf"),
        memory_bytes=2**30,
        progress=progress,
    )
    for place in (made.directory, made.scratch, made.cache):
        place.mkdir(parents=True, exist_ok=True)
    return made
