"""Writes the miniature world's sentences in the official file formats, and in XTREME's `download/` layout without test
labels.

The cards of `viaduct.tasks` read what is written here, so this module knows paths and columns, but nothing about the
content.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from viaduct.languages import language as language_of
from viaduct.miniature.pairs import LabelledPair
from viaduct.miniature.pictures import Scene, png
from viaduct.miniature.questions import Passage, context, questions
from viaduct.miniature.retrieval import Mine
from viaduct.miniature.sentences import Meaning, text
from viaduct.miniature.tagging import entity_tokens, speech_tokens, tree

TREEBANKS = {
    "en": "English-EWT", "ar": "Arabic-PADT", "de": "German-GSD", "es": "Spanish-GSD", "fa": "Persian-Seraji",
    "fr": "French-GSD", "id": "Indonesian-GSD", "it": "Italian-ISDT", "ja": "Japanese-GSD", "ko": "Korean-GSD",
    "pt": "Portuguese-GSD", "ru": "Russian-GSD", "tr": "Turkish-IMST", "zh": "Chinese-GSD",
}  # fmt: skip
"""Language -> one of the treebanks of UD v2.5 that XTREME uses."""

NTREX_CODES = {
    "ar": "arb", "de": "deu", "es": "spa", "fa": "fas", "fr": "fra", "id": "ind", "it": "ita", "ja": "jpn",
    "ko": "kor", "pt": "por", "ru": "rus", "tr": "tur", "zh": "zho-CN",
}  # fmt: skip

_XNLI_COLUMNS = [
    "language",
    "gold_label",
    "sentence1_binary_parse",
    "sentence2_binary_parse",
    "sentence1_parse",
    "sentence2_parse",
    "sentence1",
    "sentence2",
    "promptID",
    "pairID",
    "genre",
    "label1",
    "label2",
    "label3",
    "label4",
    "label5",
    "sentence1_tokenized",
    "sentence2_tokenized",
    "match",
]
_GENRE = "miniature"


@dataclass
class Folder:
    """A folder that files are written to, and a record of what was written."""

    root: Path
    rows: dict[str, int] = field(default_factory=dict)
    """Relative path -> rows (pairs, sentences, questions, lines or pictures) in the file."""
    num_bytes: int = 0

    def write(self, path: str, content: str | bytes, rows: int) -> None:
        """Write one file; text as UTF-8 with unchanged line endings."""
        data = content.encode("utf-8") if isinstance(content, str) else content
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        self.rows[path] = rows
        self.num_bytes += len(data)


def _lines(records: Iterable[Sequence[str]]) -> str:
    return "".join("\t".join(record) + "\n" for record in records)


def _csv(records: Iterable[Sequence[str]]) -> str:
    """A table as XTREME's preprocessing writes it: csv quoting where needed, CRLF."""
    file = io.StringIO(newline="")
    csv.writer(file, delimiter="\t").writerows(records)
    return file.getvalue()


def _json(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def _texts(pair: LabelledPair, language: str) -> tuple[str, str]:
    return text(pair.first, language), text(pair.second, language)


def mnli(folder: Folder, train: Sequence[LabelledPair], dev: Sequence[LabelledPair], languages: Sequence[str]) -> None:
    """MultiNLI's own files, XNLI's machine-translated training files, and XTREME's English training file."""
    for name, made in (("train", train), ("dev_matched", dev)):
        lines = []
        for number, pair in enumerate(made):
            first, second = _texts(pair, "en")
            lines.append(
                _json(
                    {
                        "annotator_labels": [pair.label],
                        "genre": _GENRE,
                        "gold_label": pair.label,
                        "pairID": f"{number}{pair.label[0]}",
                        "promptID": str(number),
                        "sentence1": first,
                        "sentence2": second,
                    }
                )
                + "\n"
            )
        folder.write(f"multinli_1.0/multinli_1.0_{name}.jsonl", "".join(lines), len(made))
    for language in languages:
        records = [("premise", "hypo", "label")]
        records += [
            (*_texts(pair, language), "contradictory" if pair.label == "contradiction" else pair.label)
            for pair in train
        ]
        folder.write(f"XNLI-MT-1.0/multinli/multinli.train.{language}.tsv", _lines(records), len(train))
    rows = [(*_texts(pair, "en"), pair.label) for pair in train]
    folder.write("download/xnli/train-en.tsv", _csv(rows), len(rows))


def halves(
    folder: Folder, split: str, made: Sequence[tuple[LabelledPair, LabelledPair]], languages: Sequence[str]
) -> None:
    """One table per language with the columns id, first, second and label. In training pairs, English has one half and
    every other language has the other; test pairs have their other half in a table of translations into English."""
    tables = {f"{split}-{code}": (code, int(split == "train" and code == "en")) for code in languages}
    if split == "test":
        tables |= {f"to_english-{code}": ("en", 1) for code in languages if code != "en"}
    for name, (code, half) in tables.items():
        rows = [(str(at), *_texts(one[half], code), one[half].label) for at, one in enumerate(made)]
        folder.write(f"halves/{name}.tsv", _lines([("id", "first", "second", "label"), *rows]), len(rows))


def xnli(folder: Folder, split: str, made: Sequence[LabelledPair], languages: Sequence[str]) -> None:
    """One split of XNLI: the official table of all languages, and XTREME's files (test: no labels)."""
    records: list[Sequence[str]] = [_XNLI_COLUMNS]
    for language in languages:
        rows = [(*_texts(pair, language), pair.label) for pair in made]
        for number, (first, second, label) in enumerate(rows, start=1):
            parses = (*_XNLI_EMPTY, first, second)
            identity = (str(number), str(number), _GENRE)
            records.append((language, label, *parses, *identity, *(label,) * 5, first, second, "True"))
        shown = [row[:2] for row in rows] if split == "test" else rows
        folder.write(f"download/xnli/{split}-{language}.tsv", _csv(shown), len(rows))
    folder.write(f"XNLI-1.0/xnli.{split}.tsv", _lines(records), len(records) - 1)


_XNLI_EMPTY = ("",) * 4


def pawsx(folder: Folder, split: str, made: Sequence[LabelledPair], languages: Sequence[str]) -> None:
    """One split of PAWS-X; train is original in English and "translated" in the other languages."""
    for language in languages:
        name = {"train": "train" if language == "en" else "translated_train"}.get(split, f"{split}_2k")
        rows = [(*_texts(pair, language), pair.label) for pair in made]
        records = [("id", "sentence1", "sentence2", "label")]
        records += [(str(number), *row) for number, row in enumerate(rows, start=1)]
        folder.write(f"x-final/{language}/{name}.tsv", _lines(records), len(rows))
        if split != "train" or language == "en":
            shown = [row[:2] for row in rows] if split == "test" else rows
            folder.write(f"download/pawsx/{split}-{language}.tsv", _csv(shown), len(rows))


def udpos(folder: Folder, split: str, made: Sequence[Meaning], language: str) -> None:
    """One split of a treebank, and XTREME's tokens with tags (test: tokens only)."""
    name = TREEBANKS[language]
    prefix = f"{language}_{name.partition('-')[2].lower()}"
    trees = (tree(meaning, language, f"{split}-{number}") for number, meaning in enumerate(made, start=1))
    folder.write(f"ud-treebanks-v2.5/UD_{name}/{prefix}-ud-{split}.conllu", "".join(trees), len(made))
    sentences = [speech_tokens(meaning, language) for meaning in made]
    folder.write(f"download/udpos/{split}-{language}.tsv", _tagged(sentences, labelled=split != "test"), len(made))


def panx(folder: Folder, split: str, made: Sequence[Meaning], language: str) -> None:
    """One split of PAN-X with its language prefixes, and XTREME's tokens with tags (test: tokens only)."""
    sentences = [entity_tokens(meaning, language) for meaning in made]
    prefixed = _tagged(sentences, labelled=True, prefix=f"{language}:")
    folder.write(f"panx_dataset/{language}/{split}", prefixed, len(made))
    folder.write(f"download/panx/{split}-{language}.tsv", _tagged(sentences, labelled=split != "test"), len(made))


def _tagged(sentences: Iterable[Sequence[tuple[str, str]]], *, labelled: bool, prefix: str = "") -> str:
    return "".join(
        "".join(f"{prefix}{token}\t{tag}\n" if labelled else f"{prefix}{token}\n" for token, tag in sentence) + "\n"
        for sentence in sentences
    )


def squad(folder: Folder, paths: Sequence[str], made: Sequence[Passage], language: str, *, ids: str) -> None:
    """Passages as SQuAD JSON in the same form at all `paths`; test files below `download/` have their answers removed.

    Question ids are `ids` and a number; test files are those of XQuAD, MLQA's `test` and TyDi QA's `.dev.json`.
    """
    for path in paths:
        blanked = path.startswith("download/") and _is_test(path)
        numbers = iter(range(1_000_000))
        paragraphs = [_paragraph(passage, language, numbers, ids, blanked=blanked) for passage in made]
        count = sum(len(passage.asked) for passage in made)
        content = {"version": "1.1", "data": [{"title": _GENRE, "paragraphs": paragraphs}]}
        folder.write(path, _json(content), count)


def _is_test(path: str) -> bool:
    return "/xquad/" in path or "/MLQA_V1/test/" in path or path.endswith(".dev.json")


def _paragraph(
    passage: Passage, language: str, numbers: Iterable[int], ids: str, *, blanked: bool
) -> Mapping[str, Any]:
    asked = [
        {
            "id": f"{ids}{number}",
            "question": one.question,
            "answers": [
                {"text": "", "answer_start": 0} if blanked else {"text": one.answer, "answer_start": one.start}
            ],
        }
        for one, number in zip(questions(passage, language), numbers, strict=False)
    ]
    return {"context": context(passage, language), "qas": asked}


def tatoeba(folder: Folder, made: Sequence[Meaning], language: str) -> None:
    """LASER's pair of aligned files, and XTREME's pair, whose English side is sorted."""
    iso3 = language_of(language).iso3
    ours, english = [text(meaning, language) for meaning in made], [text(meaning, "en") for meaning in made]
    for suffix, lines in ((iso3, ours), ("eng", english)):
        folder.write(f"tatoeba/v1/tatoeba.{iso3}-eng.{suffix}", _lines((line,) for line in lines), len(lines))
    for suffix, lines in ((language, ours), ("en", sorted(english))):
        folder.write(f"download/tatoeba/{language}-en.{suffix}", _lines((line,) for line in lines), len(lines))


def bucc(folder: Folder, split: str, made: Mine, language: str) -> None:
    """The official sample ("dev") or training set ("test") with gold, and XTREME's files, whose test has no gold."""
    official = f"bucc2018/{language}-en/{language}-en.{'sample' if split == 'dev' else 'training'}"
    for suffix, meanings in ((language, made.source), ("en", made.target)):
        lines = _lines((f"{suffix}-{n:09d}", text(one, suffix)) for n, one in enumerate(meanings, start=1))
        folder.write(f"{official}.{suffix}", lines, len(meanings))
        folder.write(f"download/bucc2018/{language}-en.{split}.{suffix}", lines, len(meanings))
    gold = _lines((f"{language}-{ours + 1:09d}", f"en-{theirs + 1:09d}") for ours, theirs in made.gold)
    folder.write(f"{official}.gold", gold, len(made.gold))
    if split == "dev":
        folder.write(f"download/bucc2018/{language}-en.{split}.gold", gold, len(made.gold))


def plain(folder: Folder, lines: Sequence[str], language: str) -> None:
    """Text in one language, compressed without a timestamp."""
    content = gzip.compress(_lines((line,) for line in lines).encode("utf-8"), mtime=0)
    folder.write(f"text/{language}.txt.gz", content, len(lines))


def ntrex(folder: Folder, made: Sequence[Meaning]) -> None:
    """Parallel text in NTREX-128's layout: line i has the same meaning in every file."""
    for language, name in (("en", "src.eng"), *((code, f"ref.{other}") for code, other in NTREX_CODES.items())):
        lines = _lines((text(meaning, language),) for meaning in made)
        folder.write(f"ntrex/NTREX-128/newstest2019-{name}.txt", lines, len(made))


def coco(folder: Folder, split: str, made: Sequence[Scene], first_id: int, languages: Sequence[str]) -> None:
    """Pictures and captions in COCO's format: `captions_<split>2017.json` is English, `.<language>.json` another
    language."""
    images = []
    for number, scene in enumerate(made, start=first_id):
        name = f"{number:012d}.png"
        drawn = png(scene)
        folder.write(f"coco/{split}2017/{name}", drawn, 1)
        images.append({"id": number, "file_name": name, "width": 64, "height": 64, "license": 1})
    for language in languages:
        captions = [
            (image["id"], caption) for image, scene in zip(images, made, strict=True) for caption in scene.captions
        ]
        annotations = [
            {"id": number, "image_id": image, "caption": text(caption, language)}
            for number, (image, caption) in enumerate(captions, start=1)
        ]
        content = {"info": {"description": _GENRE, "year": 2017, "origin": "rules"}, "licenses": [], "images": images}
        suffix = "" if language == "en" else f".{language}"
        path = f"coco/annotations/captions_{split}2017{suffix}.json"
        folder.write(path, _json({**content, "annotations": annotations}), len(annotations))
