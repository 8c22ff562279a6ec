"""The tokenizer in a `tokenizer.json`, as its makers mean it; torch and transformers are not needed to read it.

transformers 5 makes most tokenizers anew from their class and takes the vocabulary from the file, so that normalising,
splitting and ids may differ from the file's (a Unigram vocabulary in BERT's class, DeBERTa-v2's table of characters).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from viaduct.errors import UsageError
from viaduct.models.weights_check import first_line
from viaduct.runs.encoder import cached_file
from viaduct.tasks.hashes import Stamp, stamp

PROBES = (
    "The quick brown fox jumps over 13 lazy dogs.",
    "  Two  blanks, a\ttab and a\nnew line ",
    "don't — “quoted” (brackets) [1] {2} <3> a/b c_d e@f.org #5 100% $6.50 …",
    "Ｆｕｌｌ ｗｉｄｔｈ， ﬁne ligatures, ½ and x² ① ™",
    "Größe, Ärger, STRASSE; cafe\u0301 and café",
    "zero\u200bwidth, no\u00a0break, soft\u00adhyphen, \u200eleft to right",
    "Le cœur déçu mais l'âme plutôt naïve",
    "El pingüino Wenceslao hizo kilómetros",
    "Pchnąć w tę łódź jeża lub ośm skrzyń fig",
    "Příliš žluťoučký kůň úpěl ďábelské ódy",
    "Árvíztűrő tükörfúrógép",
    "İstanbul'da ılık bir gün",
    "Tôi không nói được tiếng Việt",
    "Съешь же ещё этих мягких французских булок",
    "Жебракують філософи при ґанку церкви",
    "Ξεσκεπάζω τὴν ψυχοφθόρα βδελυγμία",
    "הילד הלך לבית הספר, שָׁלוֹם",
    "ذهب الولد إلى المدرسة، السَّلَامُ عَلَيْكُم ١٢٣",
    "بچه به مدرسه می‌رود",
    "یہ ایک کتاب ہے۔",
    "लड़का स्कूल जाता है। १२३",
    "আমি বাংলায় গান গাই",
    "ਮੁੰਡਾ ਸਕੂਲ ਜਾਂਦਾ ਹੈ",
    "છોકરો શાળાએ જાય છે",
    "சிறுவன் பள்ளிக்குச் செல்கிறான்",
    "బాలుడు పాఠశాలకు వెళ్తాడు",
    "ആൺകുട്ടി സ്കൂളിൽ പോകുന്നു",
    "เด็กผู้ชายไปโรงเรียน ๑๒๓",
    "ကောင်လေးက ကျောင်းသွားတယ်",
    "ბიჭი სკოლაში მიდის",
    "Տղան գնում է դպրոց",
    "ልጁ ወደ ትምህርት ቤት ይሄዳል",
    "男孩去上学。我喜歡讀書！",
    "これはテストです。ﾃｽﾄ ㍿ パ",
    "소년은 학교에 갑니다. 한글",
    "emoji 😀👩‍👩‍👧 and symbols ♥ → ∑ €",
)
"""Texts in many scripts, with what tokenizers treat each in its own way."""

GENERIC = ("PreTrainedTokenizerFast", "TokenizersBackend")
"""Classes of transformers that run a tokenizer.json as it is."""


def require_readable(path: Path, rows: int | None) -> None:
    """Raise UsageError for a tokenizer.json that is none, and for one with more ids than there are word embeddings."""
    try:
        largest = max(_opened(path, stamp(path)).get_vocab(with_added_tokens=True).values(), default=0)
    except Exception as error:  # the library raises plain ones
        raise UsageError(f"{path} is no tokenizer that can be read: {error}", fix="download it again") from error
    if rows is not None and largest >= rows:
        raise UsageError(
            f"{path} has ids up to {largest:,}, and the encoder has word embeddings for {rows:,}",
            fix="put the tokenizer and the weights of one model into the folder",
        )


def agrees(tokenizer: Any, path: Path) -> bool:
    """Whether a tokenizer of transformers gives the ids of the file for every text of `PROBES`, alone and in pairs."""
    return probed(tokenizer) == _expected(path, stamp(path))


def probed(tokenizer: Any) -> list[list[int]]:
    """The ids that a tokenizer of transformers gives for `PROBES`, alone and in pairs."""
    texts = (*((text,) for text in PROBES), *_pairs())
    return [tokenizer(*one, verbose=False)["input_ids"] for one in texts]


@lru_cache(maxsize=4)
def _opened(path: Path, _stamp: Stamp) -> Any:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


@lru_cache(maxsize=16)
def _expected(path: Path, stamped: Stamp) -> list[list[int]]:
    tokenizer = _opened(path, stamped)
    return [tokenizer.encode(*texts).ids for texts in (*((text,) for text in PROBES), *_pairs())]


def _pairs() -> Sequence[tuple[str, str]]:
    return tuple(zip(PROBES[:3], PROBES[-3:], strict=True))


def is_rebuilt(folder: str) -> bool:
    """Whether transformers, asked for the folder's tokenizer, gives one with other ids than its tokenizer.json."""
    from transformers import AutoTokenizer

    quieten()
    return not agrees(AutoTokenizer.from_pretrained(folder, trust_remote_code=False), Path(folder) / "tokenizer.json")


def unknown_share(path: Path, texts: Iterable[str]) -> float:
    """Unknown pieces among all pieces of these texts as the file cuts them; 0 where it has no unknown piece (bytes)."""
    model = json.loads(path.read_text(encoding="utf-8"))["model"]
    tokenizer = _opened(path, stamp(path))
    number = (
        model.get("unk_id") if model.get("type") == "Unigram" else tokenizer.token_to_id(model.get("unk_token") or "")
    )
    pieces = unknown = 0
    for text in texts:  # one by one: several at once would start threads, which a copy of this process would lack
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        pieces, unknown = pieces + len(ids), unknown + ids.count(number)
    return unknown / pieces if pieces else 0.0


def quieten() -> None:
    """Keep back transformers' own bars and its report of an unused pooler, which would break into ours."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def load_tokenizer(source: str, revision: str | None) -> Any:
    """The fast tokenizer of a local folder or a Hub name at a revision; where it has a tokenizer.json, with the ids
    that this file gives.

    Raises UsageError when there is none, when it has no padding or unknown token, and for a Hub name of whose file
    transformers makes a tokenizer with other ids.
    """
    from transformers import AutoTokenizer

    quieten()
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, revision=revision, trust_remote_code=False)
    except Exception as error:  # whatever transformers and what it calls raise on somebody's files
        raise UsageError(
            f"'{source}' has no tokenizer that can be opened: {first_line(error)}",
            fix="put tokenizer.json and tokenizer_config.json beside the model",
        ) from error
    if not tokenizer.is_fast:
        raise UsageError(f"the tokenizer of '{source}' has no fast form, which word and span alignment needs")
    path = cached_file(source, revision, "tokenizer.json")
    if path is not None and path.is_file() and type(tokenizer).__name__ not in GENERIC and not agrees(tokenizer, path):
        tokenizer = _of_file(tokenizer, source, path)
    _require_usable(tokenizer, source)
    return tokenizer


def _of_file(rebuilt: Any, source: str, path: Path) -> Any:
    """The tokenizer in a folder's tokenizer.json with the special tokens that its configurations name, or those of the
    class that transformers takes, as far as the file has them."""
    from transformers import PreTrainedTokenizerFast

    if not Path(source).is_dir():
        raise UsageError(
            f"transformers makes a tokenizer of '{source}' that gives other ids than its own tokenizer.json",
            fix="download the model to a folder and name the folder: then the file's tokenizer is used",
        )
    tokenizer = PreTrainedTokenizerFast.from_pretrained(source, model_input_names=rebuilt.model_input_names)
    known = tokenizer.get_vocab()
    for name, token in rebuilt.special_tokens_map.items():
        if isinstance(token, str) and token in known and getattr(tokenizer, name, None) is None:
            setattr(tokenizer, name, token)
    if not agrees(tokenizer, path):
        raise UsageError(
            f"the tokenizer of {path} cannot be used: with the settings beside it, it gives other ids",
            fix="remove what tokenizer_config.json, added_tokens.json and special_tokens_map.json say against it",
        )
    return tokenizer


def _require_usable(tokenizer: Any, source: str) -> None:
    backend = tokenizer.backend_tokenizer
    of_bytes = "ByteLevel" in repr(backend.pre_tokenizer) or getattr(backend.model, "byte_fallback", False)
    for name, what, needed in (("pad_token", "padding", True), ("unk_token", "unknown", not of_bytes)):
        if needed and getattr(tokenizer, f"{name}_id") is None:
            raise UsageError(
                f"the tokenizer of '{source}' has no {what} token",
                fix=f"name it as `{name}` in {Path(source) / 'tokenizer_config.json'}",
            )


if __name__ == "__main__":
    sys.stdout.write("other ids" if is_rebuilt(sys.argv[1]) else "the same ids")
