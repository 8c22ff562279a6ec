"""A tokenizer of our own: byte-pair encoding over many languages, trained in seconds, byte-identical every time.

XLM-R's is a unigram model; training one takes a hundred times as long and is not deterministic across runs, while the
store's bit-identical resume needs determinism (docs/decisions.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
"""The special tokens in id order; the first four as in XLM-R."""

BLANK = "▁"
"""The character that represents a space in the pieces."""

LONGEST_PIECE = 16
"""Most characters in a piece; keeps scripts without spaces from filling the vocabulary with phrases."""

ALPHABET_SHARE = 0.25
"""Share of the vocabulary that single characters may take; rarer ones become <unk>."""


def alphabet(texts: Iterable[str], most: int) -> list[str]:
    """The `most` most frequent characters of these texts, with `BLANK` in place of the space.

    Ties go to lower code points; the trainer's own choice among equally frequent characters differs from run to run.
    """
    count: Counter[str] = Counter()
    for text in texts:
        count.update(text)
    count[BLANK] += count.pop(" ", 0)
    return sorted(sorted(count, key=lambda character: (-count[character], character))[:most])


def train_tokenizer(texts: Iterable[str], vocabulary: int, max_length: int) -> Any:
    """A fast tokenizer with the templates `<s> A </s>` and `<s> A </s></s> B </s>` and at most `vocabulary` pieces.

    NFKC, spaces as part of the next piece, punctuation isolated (so that answer spans and tags fall on piece borders).
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))  # noqa: S106  not a password
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation(behavior="isolated")]
    )
    tokenizer.decoder = decoders.Metaspace()
    lines = list(texts)
    characters = alphabet(map(tokenizer.normalizer.normalize_str, lines), int(vocabulary * ALPHABET_SHARE))
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=characters,
        limit_alphabet=len(characters),
        max_token_length=LONGEST_PIECE,
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer=trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", SPECIAL_TOKENS.index("<s>")), ("</s>", SPECIAL_TOKENS.index("</s>"))],
    )
    names = {"bos": "<s>", "cls": "<s>", "eos": "</s>", "sep": "</s>", "unk": "<unk>", "pad": "<pad>", "mask": "<mask>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=max_length,
        model_input_names=["input_ids", "attention_mask"],
        **{f"{name}_token": token for name, token in names.items()},
    )
