"""The tokenizer in a `tokenizer.json`, as its makers intended it; reading it needs neither torch nor transformers.

transformers 5 rebuilds most tokenizers from their class and takes only the vocabulary from the file, so that
normalisation, splitting and ids may differ from the file's (a Unigram vocabulary in BERT's class, DeBERTa-v2's
character table).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from viaduct.errors import UsageError
from viaduct.models.weights_check import first_line, needs_code
from viaduct.runs.encoder import cached_file, hub_options
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
"""Texts in many scripts, with features that tokenizers treat differently."""

GENERIC = ("PreTrainedTokenizerFast", "TokenizersBackend")
"""transformers classes that use a tokenizer.json unchanged."""


def largest_id(path: Path) -> int:
    """The largest id in a tokenizer.json. Raises UsageError if the file is not a readable tokenizer."""
    try:
        return int(max(_opened(path, stamp(path)).get_vocab(with_added_tokens=True).values(), default=0))
    except Exception as error:  # the library raises plain Exceptions
        raise UsageError(f"{path} is not a readable tokenizer: {error}", fix="download it again") from error


def agrees(tokenizer: Any, path: Path) -> bool:
    """Whether a transformers tokenizer gives the same ids as the file for all `PROBES`, alone and in pairs."""
    return probed(tokenizer) == _expected(path, stamp(path))


def probed(tokenizer: Any) -> list[list[int]]:
    """The ids that a transformers tokenizer gives for `PROBES`, alone and in pairs."""
    texts = (*((text,) for text in PROBES), *_pairs())
    return [tokenizer(*one, verbose=False)["input_ids"] for one in texts]


def expected(path: Path) -> list[list[int]]:
    """The ids that a tokenizer.json gives for `PROBES`, alone and in pairs."""
    return _expected(path, stamp(path))


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


_REMADE: dict[tuple[Path, Stamp], Mapping[str, Any]] = {}


def remember(path: Path, about: Mapping[str, Any]) -> None:
    """Record that transformers builds a tokenizer with other ids than this tokenizer.json, and what else that tokenizer
    specifies (`about`, see `remade`), so that this process need not build it again to find out."""
    _REMADE[path.resolve(), stamp(path)] = about


def remade(tokenizer: Any) -> Mapping[str, Any]:
    """What a transformers tokenizer specifies beyond its file: the names of its inputs, and its special tokens."""
    special = {name: token for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}
    return {"inputs": tokenizer.model_input_names, "special": special}


def unknown_share(path: Path, texts: Iterable[str]) -> float:
    """The share of unknown pieces in these texts as tokenized by the file; 0 if it has no unknown piece (bytes)."""
    stamped = stamp(path)
    tokenizer, number = _opened(path, stamped), _unknown_id(path, stamped)
    pieces = unknown = 0
    for text in texts:  # one by one: a batch would start threads, which a fork of this process would lack
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        pieces, unknown = pieces + len(ids), unknown + ids.count(number)
    return unknown / pieces if pieces else 0.0


@lru_cache(maxsize=4)
def _unknown_id(path: Path, stamped: Stamp) -> int | None:
    model = json.loads(path.read_text(encoding="utf-8"))["model"]
    if model.get("type") == "Unigram":
        found: int | None = model.get("unk_id")
    else:
        found = _opened(path, stamped).token_to_id(model.get("unk_token") or "")
    return found


def quieten() -> None:
    """Suppress transformers' own progress bars and its report of an unused pooler, which would garble ours."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def load_tokenizer(source: str, revision: str | None) -> Any:
    """The fast tokenizer in a local folder or under a Hub name at a revision; if there is a tokenizer.json, with the
    ids of that file.

    Raises UsageError if there is none, if it has no padding or unknown token, and for a Hub name if transformers builds
    a tokenizer with other ids than its file.
    """
    quieten()
    own = Path(source) / "tokenizer.json"
    about = _REMADE.get((own.resolve(), stamp(own))) if own.is_file() else None
    tokenizer = _of_transformers(source, revision, own) if about is None else _of_file(source, own, about)
    if not tokenizer.is_fast:
        raise UsageError(f"the tokenizer of '{source}' has no fast version, which word and span alignment needs")
    path = cached_file(source, revision, "tokenizer.json")
    is_generic = type(tokenizer).__name__ in GENERIC
    if path is not None and path.is_file() and not is_generic and not agrees(tokenizer, path):
        about = remade(tokenizer)
        tokenizer = _of_file(source, path, about)
        remember(path, about)
    _require_usable(tokenizer, source)
    return tokenizer


def _of_transformers(source: str, revision: str | None, own: Path) -> Any:
    """The tokenizer that transformers builds, or, if that fails, the one in a folder's `own` tokenizer.json."""
    from transformers import AutoTokenizer

    options = hub_options(source, revision)
    try:
        return AutoTokenizer.from_pretrained(source, trust_remote_code=False, **options)
    except Exception as error:  # transformers and its dependencies may raise anything on a user's files
        if own.is_file() and not needs_code(error):
            return _of_file(source, own, {})
        raise UsageError(
            f"'{source}' has no tokenizer that can be opened: {first_line(error)}",
            fix="put tokenizer.json and tokenizer_config.json next to the model",
        ) from error


def _of_file(source: str, path: Path, about: Mapping[str, Any]) -> Any:
    """The tokenizer in a folder's tokenizer.json with the special tokens named in its configuration files, or else
    those of the class that transformers uses (`about`, see `remade`), as far as the file has them."""
    from transformers import PreTrainedTokenizerFast

    if not Path(source).is_dir():
        raise UsageError(
            f"transformers builds a tokenizer for '{source}' that gives different ids from its own tokenizer.json",
            fix="download the model to a folder and name the folder: then the file's tokenizer is used",
        )
    given = {"model_input_names": about["inputs"]} if "inputs" in about else {}
    tokenizer = PreTrainedTokenizerFast.from_pretrained(source, **given)
    for name, token in about.get("special", {}).items():
        known = tokenizer.backend_tokenizer.token_to_id(token) is not None
        if known and getattr(tokenizer, name, None) is None:
            setattr(tokenizer, name, token)
    if not agrees(tokenizer, path):
        raise UsageError(
            f"the tokenizer of {path} cannot be used: with the settings next to it, it gives different ids",
            fix="remove what contradicts it in tokenizer_config.json, added_tokens.json and special_tokens_map.json",
        )
    return tokenizer


def _require_usable(tokenizer: Any, source: str) -> None:
    backend = tokenizer.backend_tokenizer
    of_bytes = "ByteLevel" in repr(backend.pre_tokenizer) or getattr(backend.model, "byte_fallback", False)
    for name, what, needed in (("pad_token", "padding", True), ("unk_token", "unknown", not of_bytes)):
        if needed and getattr(tokenizer, f"{name}_id") is None:
            raise UsageError(
                f"the tokenizer of '{source}' has no {what} token",
                fix=f"set `{name}` in {Path(source) / 'tokenizer_config.json'}",
            )


def main() -> None:
    """Entry point of a separate process, which gets a folder as argument and the ids of its file on standard input:
    print what to `remember`, or "the same ids" if there is nothing."""
    from transformers import AutoTokenizer

    quieten()
    tokenizer = AutoTokenizer.from_pretrained(sys.argv[1], trust_remote_code=False)
    same = probed(tokenizer) == json.load(sys.stdin)
    sys.stdout.write("the same ids" if same else json.dumps(remade(tokenizer)))


if __name__ == "__main__":
    sys.modules["torch"] = None  # type: ignore[assignment]
    # Tokenizers do not need torch, and it takes seconds to load.
    main()
