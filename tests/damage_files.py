"""A small file for every reader that the miniature world does not cover: of cards, mapping files and images."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from viaduct.rows import Row
from viaduct.tasks.card import Reader, Source, Task
from viaduct.tasks.mapping import load_mapping
from viaduct.vision.archives import imagefolder, parquet_pictures, webdataset

THINGS = ("tea", "kettle", 'a "red" cup', "Ada", "the boat, blue", "Ulm", "été", "紅茶", "7", "no", "q", "rain")
FIRST = [f"{thing} is here" for thing in THINGS]
SECOND = [f'"{thing}", said Bo' for thing in reversed(THINGS)]
NLI = ("entailment", "neutral", "contradiction")
PAIRS = [(first, second, NLI[at % 3]) for at, (first, second) in enumerate(zip(FIRST, SECOND, strict=True))]
TOKENS = [["Ada", "met", f"w{at}"] for at in range(12)]
OUR_TAGS = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")


def _jsonl(records: Iterable[object]) -> bytes:
    return "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in records).encode()


def _tabs(records: Iterable[Sequence[object]]) -> bytes:
    return "".join("\t".join(map(str, one)) + "\n" for one in records).encode()


def _csv(records: Iterable[Sequence[object]], delimiter: str = ",", quoting: Any = csv.QUOTE_MINIMAL) -> bytes:
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter, quoting=quoting).writerows(records)
    return file.getvalue().encode()


def _parquet(columns: dict[str, list[Any]], names: dict[str, Sequence[str]] | None = None) -> bytes:
    """A Parquet file; `names` are the label names by number, stored as the Hub stores them."""
    table, file = pyarrow.table(columns), io.BytesIO()
    if names:
        features = {
            column: ({"feature": {"names": list(of), "_type": "ClassLabel"}, "_type": "Sequence"})
            if isinstance(columns[column][0], list)
            else {"names": list(of), "_type": "ClassLabel"}
            for column, of in names.items()
        }
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pyarrow.parquet.write_table(table, file)
    return file.getvalue()


def _tar(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def _anli(number: int) -> bytes:
    fields = ({"uid": f"{number}{at}", "context": a, "hypothesis": b, "label": c[0]} for at, (a, b, c) in _numbered())
    return _jsonl(fields)


def _numbered() -> Iterable[tuple[int, tuple[str, str, str]]]:
    return enumerate(PAIRS)


def _commonsense() -> bytes:
    letters = "ABCDE"
    return _jsonl(
        {
            "id": f"c{at}",
            "answerKey": letters[at % 5],
            "question": {
                "stem": first,
                "choices": [{"label": one, "text": f"{one} {second}"} for one in letters],
            },
        }
        for at, (first, second, _) in _numbered()
    )


_COSMOS = ["id", "context", "question", "answer0", "answer1", "answer2", "answer3", "label"]
_PMB = "".join(
    f"# newdoc id = p{at:02}/d1\nTea\tTea\ttea\tCON\tn\to\t[]\nboils\tboils\tboil\tENS\ts:dcl\\np\to\t[]\n\n"
    for at in range(12)
).encode()
_AUTO = "".join(
    f"ID=wsj_0001.{at} PARSER=GOLD NUMPARSE=1\n"
    "(<T S[dcl] 1 2> (<T NP 0 1> (<L N NN NN Tea N>) ) (<L S[dcl]\\NP VBZ VBZ boils S[dcl]\\NP_7>) )\n"
    for at in range(12)
).encode()
_KARPATHY = {
    "images": [
        {"filename": f"COCO_val2014_{at:012}.jpg", "split": "val", "sentences": [{"raw": first}, {"raw": second}]}
        for at, (first, second, _) in _numbered()
    ]
}
_SPANS = {
    "id": [f"s{at}" for at in range(12)],
    "context": [f"In {at} came {thing}." for at, thing in enumerate(THINGS)],
    "question": FIRST,
    "answers": [{"text": [thing], "answer_start": [len(f"In {at} came ")]} for at, thing in enumerate(THINGS)],
}

Files = dict[str, bytes]
BUILT_IN: dict[tuple[str, str, str], list[Files]] = {
    ("anli", "dev", "en"): [{f"anli_v1.0/R{number}/dev.jsonl": _anli(number) for number in (1, 2, 3)}],
    ("snli", "dev", "en"): [
        {
            "snli_1.0/snli_1.0_dev.jsonl": _jsonl(
                {"gold_label": label, "sentence1": first, "sentence2": second} for first, second, label in PAIRS
            )
        },
        {
            "snli_1.0/snli_1.0_dev.txt": _tabs(
                [("gold_label", "sentence1", "sentence2", "label1"), *((c, a, b, c) for a, b, c in PAIRS)]
            )
        },
        {f"snli/{name}.dev": _tabs((row[at],) for row in PAIRS) for at, name in enumerate(("s1", "s2", "labels"))},
    ],
    ("qqp", "dev", "en"): [
        {
            "QQP/dev.tsv": _tabs(
                [
                    ("id", "question1", "question2", "is_duplicate"),
                    *((at, a, b, at % 2) for at, (a, b, _) in _numbered()),
                ]
            )
        },
        {
            "hub/nyu-mll/glue/qqp/validation-00000-of-00001.parquet": _parquet(
                {"question1": FIRST, "question2": SECOND, "label": [0, 1] * 6},
                {"label": ("not_duplicate", "duplicate")},
            )
        },
    ],
    ("qqp_bimpm", "dev", "en"): [
        {"Quora_question_pair_partition/dev.tsv": _tabs((at % 2, a, b, at) for at, (a, b, _) in _numbered())},
        {"quora/dev.txt": _tabs((a, b, at % 2) for at, (a, b, _) in _numbered())},
    ],
    ("hellaswag", "dev", "en"): [
        {
            "hellaswag/hellaswag_val.jsonl": _jsonl(
                {"ind": at, "ctx_a": a, "ctx_b": b, "endings": list(THINGS[:4]), "label": at % 4}
                for at, (a, b, _) in _numbered()
            )
        },
        {
            "hellaswag/hellaswag_val_full.txt": "".join(
                f"{first}\n{at % 4}\n" + "".join(f"{one}\n" for one in THINGS[:4]) for at, first in enumerate(FIRST)
            ).encode()
        },
        {
            "hub/Rowan/hellaswag/data/validation-00000-of-00001.parquet": _parquet(
                {
                    "ctx_a": FIRST,
                    "ctx_b": SECOND,
                    "endings": [[f"{thing} {at}" for thing in THINGS[:4]] for at in range(12)],
                    "label": ["0", "1", "2", "3"] * 3,
                }
            )
        },
    ],
    ("commonsenseqa", "dev", "en"): [{"commonsenseqa/dev_rand_split.jsonl": _commonsense()}],
    ("cosmosqa", "dev", "en"): [
        {"cosmosqa/valid.csv": _csv([_COSMOS, *((f"q{i}", a, b, *THINGS[:4], i % 4) for i, (a, b, _) in _numbered())])}
    ],
    ("xcopa", "test", "et"): [
        {
            "xcopa/data/et/test.et.jsonl": _jsonl(
                {"premise": a, "choice1": b, "choice2": a, "question": "cause", "label": at % 2, "idx": at}
                for at, (a, b, _) in _numbered()
            )
        }
    ],
    ("ccg", "dev", "en"): [
        {"ccgbank/wsj00.stagged": b"Tea|NN|N boils|VBZ|S[dcl]\\NP\n" * 12},
        {"ccgbank/data/AUTO/00/wsj_0001.auto": _AUTO},
    ],
    ("ccg_pmb", "dev", "de"): [{"ccg_pmb/4.0.0/de/gold/dev.conll": _PMB}],
    ("panx", "dev", "en"): [
        {
            "hub/google/xtreme/PAN-X.en/validation-00000-of-00001.parquet": _parquet(
                {"tokens": TOKENS, "ner_tags": [[1, 0, 2]] * 12},
                {"ner_tags": ("O", "B-ORG", "I-ORG", "B-PER", "I-PER", "B-LOC", "I-LOC")},
            )
        }
    ],
    ("pawsx", "dev", "de"): [
        {"pawsx/dev-de.tsv": _csv(((a, b, at % 2) for at, (a, b, _) in _numbered()), "\t", csv.QUOTE_NONNUMERIC)},
        {"pawsx/dev-de.tsv": _csv(((a, b, str(at % 2)) for at, (a, b, _) in _numbered()), "\t", csv.QUOTE_ALL)},
    ],
    ("squad", "dev", "en"): [{"hub/rajpurkar/squad/plain_text/validation-00000-of-00001.parquet": _parquet(_SPANS)}],
    ("tatoeba", "test", "de"): [
        {
            "hub/google/xtreme/tatoeba.deu/validation-00000-of-00001.parquet": _parquet(
                {"source_sentence": FIRST, "target_sentence": SECOND}
            )
        }
    ],
    ("coco_karpathy", "dev", "en"): [{"coco/dataset_coco.json": json.dumps(_KARPATHY).encode()}],
}

_OWN_CARDS = {
    "own_pairs": ("pair", {"first": "a", "second": "b", "label": "c"}),
    "own_texts": ("text", {"text": "b"}),
    "own_tags": ("tagged", {"tokens": "a", "tags": "b"}),
}


def own_cards(folder: Path) -> list[tuple[Task, list[Files]]]:
    """Cards of mapping files (written to the folder) and of images, each with its files (dev, English)."""
    records = [dict(zip("abc", row, strict=True)) for row in PAIRS]
    table = [tuple("cab"), *((row["c"], row["a"], row["b"]) for row in records)]
    forms = {
        "jsonl": _jsonl(records),
        "csv": _csv(table),
        "tsv": _csv(table, "\t"),
        "parquet": _parquet({key: [row[key] for row in records] for key in "abc"}),
    }
    made: list[tuple[Task, list[Files]]] = []
    for name, (kind, columns) in _OWN_CARDS.items():
        path = folder / f"{name}.toml"
        suffixes = forms if kind != "tagged" else {"jsonl": _jsonl({"a": one, "b": ["O", "X", "O"]} for one in TOKENS)}
        for suffix, content in suffixes.items():
            lines = [f'name = "{name}"', f'kind = "{kind}"', f'path = "own/rows.{suffix}"', 'languages = ["en"]']
            named = ", ".join(f'{role} = "{column}"' for role, column in columns.items())
            lines += ['splits = {dev = "dev"}', f"columns = {{{named}}}"]
            lines += ['labels = {order = ["entailment", "neutral", "contradiction"]}'] * (kind == "pair")
            path.write_text("\n".join(lines), encoding="utf-8")
            made.append((load_mapping(path), [{f"own/rows.{suffix}": content}]))
    captions = {
        f"s{at}.{end}": text for at, row in enumerate(FIRST) for end, text in (("jpg", b"x"), ("txt", row.encode()))
    }
    images = [{"file_name": f"{at}.jpg", "text": first} for at, first in enumerate(FIRST)]
    pictures = {"caption": FIRST, "image": [{"bytes": b"x", "path": ""}] * 12}
    folder_csv = _csv([("file_name", "text"), *((one["file_name"], one["text"]) for one in images)])
    readers: list[tuple[str, str, Reader, bytes]] = [
        ("tar", "own/x.tar", webdataset(origin="people"), _tar(captions)),
        ("folder_jsonl", "own/metadata.jsonl", imagefolder(caption="text", origin="people"), _jsonl(images)),
        ("folder_csv", "own/metadata.csv", imagefolder(caption="text", origin="people"), folder_csv),
        ("pictures", "own/x.parquet", parquet_pictures(caption="caption", origin="people"), _parquet(pictures)),
    ]
    for name, file, read, content in readers:
        source = Source("official", {"rows": file}, read, {"dev": "dev"})
        card = Task(name, name, "captioned", ("en",), "", "", sources=(source,))
        made.append((card, [{file: content}]))
    return made


Content = tuple[tuple[str, ...], object]


def content_of(row: Row) -> Content:
    """The content of a row without its id, which may be its position in the file."""
    return (row.texts, row.gold if not row.links else None)
