"""A tokenizer, an encoder and stage contexts small enough to be built for every test session."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from viaduct.encode import tokens
from viaduct.encode.tokens import Encoded, Encoding, Limits, encode_sentences
from viaduct.heads.choice import encode_choices
from viaduct.heads.pair import encode_pairs
from viaduct.heads.span import encode_spans
from viaduct.heads.tagged import encode_tagged
from viaduct.metrics.score import Predictions, Score
from viaduct.models.encoder import build_encoder
from viaduct.models.tokenizer import train_tokenizer
from viaduct.rows import Answer, Choice, Pair, Row, Sentence, Span, Tagged
from viaduct.runs.rows import Loaded
from viaduct.runs.spec import Architecture, Training
from viaduct.runs.stage import Context, Spent, Work, kind_of
from viaduct.tasks.card import Task
from viaduct.tasks.catalogue import Catalogue

LANGUAGES = {
    language: tuple(words.split())
    for language, words in {
        "en": "river stone green small house winter yellow seven boat garden under bread",
        "de": "Fluss Stein grün klein Häuser Winter gelb sieben Kähne Garten unter Brot",
        "ru": "река камень зелёный малый дом зима жёлтый семь лодка сад под хлеб",
        "el": "ποτάμι πέτρα πράσινο μικρό σπίτι χειμώνας κίτρινο επτά βάρκα κήπος κάτω ψωμί",
        "ar": "نهر حجر أخضر صغير بيت شتاء أصفر سبعة قارب حديقة تحت خبز",
        "hi": "नदी पत्थर हरा छोटा घर सर्दी पीला सात नाव बगीचा नीचे रोटी",
        "th": "แม่น้ำ หิน เขียว เล็ก บ้าน หนาว เหลือง เจ็ด เรือ สวน ใต้ ขนมปัง",
        "zh": "河流 石头 绿色 小小 房子 冬天 黄色 七个 小船 花园 下面 面包",
    }.items()
}
"""Twelve words per language, in the same order: index i means the same in every language."""

ENCODINGS: Mapping[type, Encoding] = {
    Pair: encode_pairs,
    Choice: encode_choices,
    Tagged: encode_tagged,
    Span: encode_spans,
    Sentence: encode_sentences,
}

ARCHITECTURE = Architecture(layers=2, hidden=32, heads=2, feed_forward=64, vocabulary=700, max_length=128)


def sentences(language: str) -> list[str]:
    """A dozen sentences of this language."""
    words = LANGUAGES[language]
    gap = "" if language in ("th", "zh") else " "
    return [
        gap.join(words[(start + step * stride) % 12] for step in range(3 + start % 4)) + (", 7." if start % 3 else "!")
        for start, stride in zip(range(12), (1, 5, 7, 11, 1, 5, 7, 11, 1, 5, 7, 11), strict=True)
    ]


def corpus() -> list[str]:
    """All sentences of all languages."""
    return [sentence for language in LANGUAGES for sentence in sentences(language)]


def tokenizer(vocabulary: int = ARCHITECTURE.vocabulary) -> Any:
    """Our byte-pair tokenizer over the corpus."""
    return train_tokenizer(corpus(), vocabulary, ARCHITECTURE.max_length)


def encoder(words: Any, *, seed: int = 0, dropout: float = 0.0, layers: int = 2) -> nn.Module:
    """A random XLM-R, 32 wide and by default of two layers, in evaluation mode."""
    torch.manual_seed(seed)
    shape = ARCHITECTURE.model_copy(update={"dropout": dropout, "layers": layers})
    return build_encoder(shape, len(words), words.pad_token_id).eval()


def share_right(rows: Sequence[Row], predictions: Predictions) -> tuple[Score, ...]:
    """The share of rows whose prediction is the gold one."""
    right = sum(predictions[row.id].prediction == gold(row) for row in rows)
    return (Score("accuracy", right / len(rows), len(rows), 0, "right|1"),)


def gold(row: Row) -> object:
    """What a model should predict for this row."""
    if isinstance(row, Tagged):
        return list(row.tags or ())
    if isinstance(row, Span):
        return row.answers[0].text if row.answers else ""
    return getattr(row, "label", None)


def card(kind: str, labels: tuple[str, ...] = (), name: str | None = None) -> Task:
    """A card without files, for rows made in a test."""
    return Task(
        name=name or f"tiny-{kind}",
        version=1,
        title=kind,
        kind=kind,
        languages=("en", "de"),
        sources=(),
        metric=share_right,
        metrics=("accuracy",),
        trained_on=None,
        licence="made for tests",
        citation="",
        labels=labels,
    )


CARDS = {
    "pair": card("pair", ("no", "yes")),
    "tagged": card("tagged", ("NOUN", "ADJ", "NUM")),
    "span": card("span"),
    "choice": card("choice"),
}


def rows(kind: str, count: int = 8, *, offset: int = 0) -> list[Row]:
    """Learnable rows of this kind, of different lengths."""
    return [_ROWS[kind](number + offset) for number in range(count)]


def _words(number: int) -> list[str]:
    words = LANGUAGES["en"]
    return [words[(number * 5 + step * 7) % 12] for step in range(2 + number % 5)]


def _pair(number: int) -> Pair:
    label = "yes" if number % 2 else "no"
    return Pair(f"p{number}", "en", " ".join(_words(number)), f"{LANGUAGES['en'][number % 12]}.", label)


def _tagged(number: int) -> Tagged:
    words = _words(number)
    tags = ["NUM" if word == "seven" else "ADJ" if word in ("green", "small", "yellow") else "NOUN" for word in words]
    return Tagged(f"t{number}", "en", tuple(words), tuple(tags))


def _span(number: int) -> Span:
    words = [*_words(number), LANGUAGES["en"][(number + 3) % 12], *_words(number + 1)]
    at = number % len(words)
    start = sum(len(word) + 1 for word in words[:at])
    return Span(f"s{number}", "en", " ".join(words), f"number {number}?", (Answer(words[at], start),))


def _choice(number: int) -> Choice:
    words = LANGUAGES["en"]
    endings = tuple(words[(number + step) % 12] for step in range(2 + number % 3))
    return Choice(f"c{number}", "en", " ".join(_words(number)), "which?", endings, number % len(endings))


_ROWS: Mapping[str, Callable[[int], Row]] = {"pair": _pair, "tagged": _tagged, "span": _span, "choice": _choice}


def encode(rows: Sequence[Row], words: Any, labels: Sequence[str], limits: Limits) -> Encoded:
    """The token sequences of rows of one type."""
    return tokens.encode(rows, ENCODINGS[type(rows[0])] if rows else encode_pairs, words, labels, limits)


def loader(parts: Mapping[tuple[str, str, str], Sequence[Row]]) -> Callable[[str, str, str], Loaded]:
    """A context's `load` that knows these rows and no others."""

    def load(task: str, split: str, language: str) -> Loaded:
        return Loaded(tuple(parts[task, split, language]), None)

    return load


def run(made: Context) -> Spent:
    """Do the stage's work, as the executor does."""
    return kind_of(made.work.kind).run(made, made.work)


def context(
    work: Work,
    folder: Path,
    parts: Mapping[tuple[str, str, str], Sequence[Row]],
    *,
    encoder: Path | None = None,
    cards: Sequence[Task] = (),
) -> Context:
    """A stage's context below `folder` that knows these cards, the tiny ones and the built-in ones; nothing is
    checkpointed unless `checkpoint_seconds` is changed."""
    made = Context(
        work=work,
        directory=folder / "output",
        scratch=folder / "scratch",
        inputs={} if encoder is None else {"encoder": encoder.parent},
        encoder=None if encoder is None else str(encoder),
        revision=None,
        load=loader(parts),
        catalogue=Catalogue({**_by_name(CARDS.values()), **_by_name(Catalogue.builtin()), **_by_name(cards)}.values()),
        cache=folder / "cache",
        device="cpu",
        threads=1,
        checkpoint_seconds=1e9,
        memory_bytes=10**9,
        progress=lambda *_: None,
    )
    for place in (made.directory, made.scratch, made.cache):
        place.mkdir(parents=True, exist_ok=True)
    return made


def _by_name(cards: Iterable[Task]) -> dict[str, Task]:
    return {card.name: card for card in cards}


def with_progress(made: Context, progress: Callable[[float, float, str], None]) -> Context:
    """The same context with a checkpoint after every step and this progress callback."""
    return replace(made, checkpoint_seconds=0.0, progress=progress)


def training(**changes: Any) -> Training:
    """Settings for a training of a few small steps."""
    fields: dict[str, Any] = {"learning_rate": 1e-3, "epochs": 2.0, "batch_tokens": 64, "max_length": 64, "stride": 8}
    return Training(**{**fields, **changes})


def typed_tokenizer(words: Any) -> Any:
    """The same tokenizer in BERT's style: `<s> A </s> B </s>`, with segment types."""
    from tokenizers import Tokenizer, processors
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer.from_str(words.backend_tokenizer.to_str())
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s>:0 $A:0 </s>:0 $B:1 </s>:1", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    names = {name: getattr(words, name) for name in ("bos_token", "eos_token", "unk_token", "pad_token", "mask_token")}
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    return PreTrainedTokenizerFast(tokenizer_object=backend, model_input_names=inputs, **names)
