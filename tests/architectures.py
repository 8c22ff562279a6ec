"""Small encoders of many families with random weights, each with a tokenizer of its own family trained on a few lines.
`tests/models/test_architectures.py` verifies what is stated here about a family. Generate docs/architectures.md with

    PYTHONPATH=tests python -m architectures > docs/architectures.md
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tiny
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

from viaduct.runs.families import REFUSED, STACKS, TRIMMED

VOCABULARY = 600
LONGEST = 140
"""Number of position embeddings in encoders that have any, including those reserved before the first token."""


ENGINES = ("torch", "onnx", "openvino")


@dataclass(frozen=True)
class Words:
    """A family's tokenizer."""

    model: str
    """ "WordPiece", "Unigram", "byte-level BPE", "Gemma's BPE" (with byte fallback)."""
    named: Mapping[str, str]
    """Role of a special token ("bos", "pad", ...) -> the token."""
    alone: str
    pair: str
    """Templates for one text (`alone`) and for two (`pair`), in the notation of `tokenizers`."""
    special: Sequence[str]
    """Special tokens in id order; they have the highest ids if `last` is set."""
    last: bool = False


@dataclass(frozen=True)
class Family:
    """An architecture with its tokenizer."""

    model_type: str
    words: Words
    config: Mapping[str, Any] = field(default_factory=lambda: SHAPE)
    note: str = ""
    engines: Sequence[str] = ENGINES


SHAPE = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64}
T5_SHAPE = {"d_model": 32, "num_layers": 3, "num_heads": 2, "d_kv": 16, "d_ff": 64}
GEMMA_SHAPE = {**SHAPE, "num_key_value_heads": 1, "head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 8}
DEBERTA_SHAPE = {**SHAPE, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False}
XLM_SHAPE = {
    "emb_dim": 32,
    "n_layers": 3,
    "n_heads": 2,
    "pad_index": 1,
    "bos_index": 0,
    "eos_index": 2,
    "mask_index": 4,
}

ANGLED = {"bos": "<s>", "cls": "<s>", "eos": "</s>", "sep": "</s>", "unk": "<unk>", "pad": "<pad>", "mask": "<mask>"}
SQUARE = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
ONE, TWO = "[CLS] $A [SEP]", "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1"
ROBERTA = ("<s> $A </s>", "<s> $A </s> </s> $B </s>", ("<s>", "<pad>", "</s>", "<unk>", "<mask>"))

BERT_WORDS = Words("WordPiece", SQUARE, ONE, TWO, tuple(SQUARE.values()))
ROBERTA_WORDS = Words("byte-level BPE", ANGLED, *ROBERTA)
XLMR_WORDS = Words("Unigram", ANGLED, *ROBERTA)
DEBERTA_WORDS = Words("Unigram", SQUARE, ONE, TWO, ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"))
MODERNBERT_WORDS = Words("byte-level BPE", SQUARE, ONE, "[CLS] $A [SEP] $B [SEP]", tuple(SQUARE.values()), last=True)
MPNET_WORDS = Words("WordPiece", ANGLED, *ROBERTA)
ALBERT_WORDS = Words(
    "Unigram",
    SQUARE | {"pad": "<pad>", "unk": "<unk>"},
    ONE,
    TWO,
    ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"),
)
LLAMA_WORDS = Words(
    "byte-level BPE",
    {"bos": "<|begin|>", "eos": "<|end|>", "pad": "<|pad|>", "mask": "<|mask|>"},
    "<|begin|> $A <|end|>",
    "<|begin|> $A <|end|> $B <|end|>",
    ("<|begin|>", "<|end|>", "<|pad|>", "<|mask|>"),
    last=True,
)
T5_NAMES = {"eos": "</s>", "unk": "<unk>", "pad": "<pad>"}
T5_WORDS = Words("Unigram", T5_NAMES, "$A </s>", "$A </s> $B </s>", ("<pad>", "</s>", "<unk>"))
GEMMA_NAMES = {"bos": "<bos>", "eos": "<eos>", "unk": "<unk>", "pad": "<pad>", "mask": "<mask>"}
GEMMA_WORDS = Words(
    "Gemma's BPE", GEMMA_NAMES, "<bos> $A", "<bos> $A <bos> $B", ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")
)

NARROW = "no replay: its word embeddings are narrower than its states"
SIDE = "the encoder alone, as `AutoModelForTextEncoding` opens it"
FAMILIES = {
    "BERT": Family("bert", BERT_WORDS),
    "RoBERTa": Family("roberta", ROBERTA_WORDS),
    "CamemBERT": Family("camembert", XLMR_WORDS),
    "XLM-R": Family("xlm-roberta", XLMR_WORDS, SHAPE | {"type_vocab_size": 1}),
    "XLM-R-XL": Family("xlm-roberta-xl", XLMR_WORDS, SHAPE | {"type_vocab_size": 1}),
    "XLM": Family("xlm", XLMR_WORDS, XLM_SHAPE, engines=("torch", "onnx")),
    "DeBERTa": Family("deberta", ROBERTA_WORDS, DEBERTA_SHAPE),
    "DeBERTa-v2 and v3": Family(
        "deberta-v2",
        DEBERTA_WORDS,
        {**DEBERTA_SHAPE, "position_buckets": 16, "norm_rel_ebd": "layer_norm", "share_att_key": True},
    ),
    "ModernBERT": Family(
        "modernbert", MODERNBERT_WORDS, SHAPE | {"global_attn_every_n_layers": 2, "local_attention": 8}
    ),
    "MPNet": Family("mpnet", MPNET_WORDS),
    "ELECTRA": Family("electra", BERT_WORDS, SHAPE | {"embedding_size": 16}, NARROW),
    "ERNIE": Family("ernie", BERT_WORDS),
    "ALBERT": Family("albert", ALBERT_WORDS, SHAPE | {"embedding_size": 16}, NARROW),
    "DistilBERT": Family("distilbert", BERT_WORDS, {"dim": 32, "n_layers": 3, "n_heads": 2, "hidden_dim": 64}),
    "RemBERT": Family("rembert", DEBERTA_WORDS, SHAPE | {"input_embedding_size": 16}, NARROW),
    "EuroBERT": Family("eurobert", LLAMA_WORDS, SHAPE | {"num_key_value_heads": 2}),
    "gte (multilingual)": Family("gte", XLMR_WORDS, note="`new` in older folders needs their code: refused"),
    "nomic_bert": Family("nomic_bert", BERT_WORDS, note="sizes named as GPT-2 has them (`n_embd`): refused"),
    "jina_embeddings_v3": Family("jina_embeddings_v3", XLMR_WORDS, note="without adapters of tasks"),
    "T5": Family("t5", T5_WORDS, T5_SHAPE | {"feed_forward_proj": "relu"}, SIDE),
    "mT5": Family("mt5", T5_WORDS, T5_SHAPE, SIDE),
    "UMT5": Family("umt5", T5_WORDS, T5_SHAPE, SIDE),
    "T5Gemma": Family("t5gemma", GEMMA_WORDS, GEMMA_SHAPE, SIDE),
}
"""Supported families, by their common names."""

VARIANTS = {
    "RoBERTa, padding last": Family(
        "roberta",
        Words("byte-level BPE", ANGLED, *ROBERTA, last=True),
        SHAPE | {"max_position_embeddings": LONGEST + VOCABULARY + 10},
    ),
    "MPNet of another padding": Family("mpnet", MPNET_WORDS, SHAPE | {"pad_token_id": 9}),
    "T5Gemma, padding last": Family(
        "t5gemma",
        Words("Gemma's BPE", GEMMA_NAMES, "<bos> $A", "<bos> $A <bos> $B", GEMMA_WORDS.special, last=True),
        GEMMA_SHAPE,
    ),
    "BERT of one segment": Family("bert", BERT_WORDS, SHAPE | {"type_vocab_size": 1}),
    "DeBERTa-v2 with a convolution": Family(
        "deberta-v2", DEBERTA_WORDS, {**FAMILIES["DeBERTa-v2 and v3"].config, "conv_kernel_size": 3}
    ),
    "DeBERTa-v2 with segments and positions": Family(
        "deberta-v2",
        DEBERTA_WORDS,
        {**FAMILIES["DeBERTa-v2 and v3"].config, "type_vocab_size": 2, "position_biased_input": True},
    ),
    "ALBERT of two groups": Family(
        "albert", ALBERT_WORDS, SHAPE | {"embedding_size": 16, "num_hidden_layers": 4, "num_hidden_groups": 2}
    ),
    "mT5, nothing tied": Family("mt5", T5_WORDS, T5_SHAPE | {"tie_word_embeddings": False}),
}
"""Less common configurations found in some folders of a family."""


def tokenizer(words: Words) -> Any:
    """A fast tokenizer of this kind, trained on the lines of `tiny.corpus`."""
    made, trainer = _untrained(words)
    made.train_from_iterator(tiny.corpus(), trainer=trainer)
    if words.last:
        made = _specials_last(made, words)
    known = {token: made.token_to_id(token) for token in words.special}
    framing = [(token, number) for token, number in known.items() if token in f"{words.alone} {words.pair}"]
    made.post_processor = processors.TemplateProcessing(single=words.alone, pair=words.pair, special_tokens=framing)
    if words.model == "byte-level BPE":
        made.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=True), made.post_processor])
    inputs = ["input_ids", *["token_type_ids"] * (":1" in words.pair), "attention_mask"]
    named = {f"{name}_token": token for name, token in words.named.items()}
    return PreTrainedTokenizerFast(tokenizer_object=made, model_input_names=inputs, **named)


def _untrained(words: Words) -> tuple[Tokenizer, Any]:
    special = [] if words.last else list(words.special)
    unknown = words.named.get("unk", "<unk>")
    options: dict[str, Any] = {"special_tokens": special, "vocab_size": VOCABULARY, "show_progress": False}
    if words.model == "WordPiece":
        made = Tokenizer(models.WordPiece(unk_token=unknown))
        made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
        return made, trainers.WordPieceTrainer(**options)
    if words.model == "Unigram":
        made = Tokenizer(models.Unigram())
        made.normalizer, made.pre_tokenizer = normalizers.NFKC(), pre_tokenizers.Metaspace()
        return made, trainers.UnigramTrainer(unk_token=unknown, **options)
    if words.model == "byte-level BPE":
        made = Tokenizer(models.BPE())
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        return made, trainers.BpeTrainer(initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **options)
    options["special_tokens"] = [*special, *(f"<0x{byte:02X}>" for byte in range(256))]
    made = Tokenizer(models.BPE(unk_token=unknown, byte_fallback=True, fuse_unk=True))
    made.normalizer = normalizers.Replace(" ", "▁")
    made.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    return made, trainers.BpeTrainer(**options | {"vocab_size": VOCABULARY + 300})


def _specials_last(made: Tokenizer, words: Words) -> Tokenizer:
    made.add_special_tokens(list(words.special))
    return made


def write(family: Family, folder: Path) -> Path:
    """Write the family's folder as its makers would publish it: the files AutoModel saves, plus the tokenizer."""
    words = tokenizer(family.words)
    numbers = {f"{use}_token_id": words.convert_tokens_to_ids(token) for use, token in family.words.named.items()}
    side = {"vocab_size": len(words), "max_position_embeddings": LONGEST, **numbers, **family.config}
    both = {"encoder": side, "decoder": side, "vocab_size": len(words), **numbers}
    config = AutoConfig.for_model(family.model_type, **(both if family.model_type == "t5gemma" else side))
    torch.manual_seed(0)
    model = AutoModel.from_config(config)
    with torch.no_grad():  # large enough to make attention uneven and every bias count: mistakes show in the states
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


HEAD = """# Which encoders work

Generated by the test that tries them (`tests/architectures.py`), with small encoders of each family that have random
weights and a tokenizer of their own family. For every kind of row, the states in a padded batch equal those that plain
transformers computes for each row alone, within 1e-5 of the largest or of 1. Training only the part of the vocabulary
that is used gives a bit-identical model. Training, resuming, passing the encoder on to the next stage, prediction,
export and `viaduct profile` work.

"""
COLUMNS = (
    " family ",
    " `model_type` ",
    " tokenizer ",
    " states ",
    " part of the vocabulary ",
    " fewer layers ",
    " export ",
    " profile ",
    " ",
)
FOOT = """\
* Encoder-decoders of other families than T5's and T5Gemma.
* Folders whose architecture is code that comes with them.
* What reads from left to right, and any architecture that gives a text different states when batched with a longer one:
  each is tried on a few tokens before the first stage.

Any other architecture of transformers that passes this trial is used. It is trained with its whole vocabulary
(`whole_vocabulary` in training.json says why), and its layers cannot be cut.
"""


def page() -> str:
    """The text of docs/architectures.md."""
    lines = [*HEAD.splitlines(), *("|".join(["", *cells, ""]) for cells in (COLUMNS, ["---"] * len(COLUMNS)))]
    for name, family in FAMILIES.items():
        kind = family.model_type
        trimmed, cut = ("the same model" if kind in TRIMMED else "not used"), "yes" if kind in STACKS else "no"
        cells = (
            name,
            f"`{kind}`",
            family.words.model,
            "equal",
            trimmed,
            cut,
            ", ".join(family.engines),
            "yes",
            family.note,
        )
        lines.append(f"| {' | '.join(cells)} |".replace("|  |", "| |"))
    lines += ["", "Refused, in one message before anything runs:", ""]
    lines += [f"* `{kind}`: it {why}." for kind, why in REFUSED.items()]
    lines += FOOT.splitlines()
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
