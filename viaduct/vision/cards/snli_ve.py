"""Visual entailment (English): is a sentence true of a photograph, false, or undecidable from it?

SNLI-VE is SNLI with the photograph in place of its caption, since SNLI's premises are captions from Flickr30k:
    snli_ve/snli_ve_dev.jsonl   {"gold_label": "neutral", "Flickr30K_ID": "1009434119", "pairID": "1009434119.jpg#2r1n",
                                 "sentence1": "A dog jumps .", "sentence2": "A dog hunts .", ...}
    flickr30k/flickr30k-images/1009434119.jpg

`visual_entailment` joins the rows of SNLI's dev and test sets whose premise is a caption of a Flickr8k photograph, with
that photograph: four thousand rows whose premise is available both as text and as a picture.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from viaduct.errors import DataError
from viaduct.tasks.card import Files, Task, sources
from viaduct.tasks.formats import json_lines, text_lines
from viaduct.tasks.mnli import LABELS, NAMES
from viaduct.tasks.pairs import label_of
from viaduct.tasks.published import counts
from viaduct.tasks.snli import read_three_files
from viaduct.vision.caption_files import FLICKR30K, Photos, caption_text, photo_id, read_tokens
from viaduct.vision.cards.flickr8k import FOLDERS, LISTS
from viaduct.vision.rows import Pictured

FIELDS = ("gold_label", "Flickr30K_ID", "pairID", "sentence1", "sentence2")
SNLI_SPLITS = ("dev", "test")
"""Splits of SNLI that are joined; they have the same photographs, so their rows are split anew."""
SNLI_FILES = (("first", "s1"), ("second", "s2"), ("labels", "labels"))

_GAPS = re.compile(r"[\W_]+")


def read(files: Files, language: str, _split: str) -> Iterator[Pictured]:
    """The rows of an official file."""
    path = files["rows"][0]
    photos = Photos(path.parents[1], FLICKR30K)
    for line, (label, photo, pair, premise, text) in json_lines(path, FIELDS):
        premise, text = caption_text(premise, path, line), caption_text(text, path, line)
        if not str(photo).isdecimal():
            raise DataError(f"Flickr30K_ID is {photo!r}, not the number of a photograph", path=path, line=line)
        image = photos.find(f"{photo}.jpg")
        yield Pictured(str(pair), language, str(photo), image, premise, text, label_of(label, NAMES, path, line))


def plain(text: str) -> str:
    """The text in lower case, with one space for each run of anything but letters and digits: SNLI's files are
    tokenised differently from Flickr8k's."""
    return _GAPS.sub(" ", text.lower()).strip()


def read_joined(files: Files, language: str, split: str) -> Iterator[Pictured]:
    """The rows of SNLI's dev and test sets whose premise is a caption, with the photograph that it describes.

    Of several photographs with the same caption, those in the training list come first, then the smallest file name
    decides: evaluation rows share no caption with the training list.
    """
    trained = set(text_lines(files["images"][0]))
    captions = read_tokens(files["captions"][0])
    described: dict[str, str] = {}
    for name in sorted(captions, key=lambda name: (name not in trained, name)):
        for caption in captions[name].values():
            described.setdefault(plain(caption), name)
    photos = Photos(files["captions"][0].parents[2], FOLDERS)
    for part in SNLI_SPLITS:
        for row in read_three_files(_snli(files, part), language, part):
            own = described.get(plain(row.first))
            if own is not None and (own in trained) == (split == "train"):
                id, photo, image = f"{part}-{row.id}", photo_id(own), photos.find(own)
                yield Pictured(id, language, photo, image, row.first, row.second, row.label)


def _snli(files: Files, part: str) -> Files:
    """SNLI's three files of one of its splits."""
    return {role: files[f"{part} {role}"] for role, _ in SNLI_FILES}


def _joined_files() -> Mapping[str, str]:
    found = {"captions": "flickr8k/captions/Flickr8k.en.token.txt", "images": LISTS.format(split="train")}
    for part in SNLI_SPLITS:
        found |= {f"{part} {role}": f"snli/infersent_format/{name}.{part}" for role, name in SNLI_FILES}
    return found


CARD = Task(
    name="snli_ve",
    title="SNLI-VE",
    kind="pictured",
    languages=("en",),
    labels=LABELS,
    sources=sources("official", read, "snli_ve/snli_ve_{split}.jsonl", "snli_ve/annotations/snli_ve_{split}.jsonl"),
    expected=counts(("en",), train=529_527, dev=17_858, test=17_901),
    licence="SNLI: CC BY-SA 4.0; images under Flickr's terms of use",
    citation="Xie et al. 2019: Visual Entailment: A Novel Task for Fine-Grained Image Understanding (arXiv 1901.06706)",
    differs=(
        "The premise is kept as SNLI has it, beside the photograph; it is shown only where a recipe says so. The form "
        "and the counts are those of necla-ml/SNLI-VE@054c294. Its labels were given to captions, not to photographs: "
        "about 9 % of a sample are wrong of the photograph, mostly neutral ones, as its README says."
    ),
)

JOINED = Task(
    name="visual_entailment",
    title="Visual entailment on Flickr8k",
    kind="pictured",
    languages=("en",),
    labels=LABELS,
    sources=sources("official", read_joined, _joined_files(), splits="train dev"),
    expected={("en", "train"): 3_437, ("en", "dev"): 1_129},
    licence="SNLI: CC BY-SA 4.0; Flickr8k: non-commercial research use, images under Flickr's terms of use",
    citation="Bowman et al. 2015 (arXiv 1508.05326); Hodosh et al. 2013; in the form of Xie et al. 2019",
    differs=(
        "No published set: the counts are those of the joined files, 4,566 rows of both of SNLI's sets. Split by "
        "photograph: dev has those outside Flickr8k's training list, so no stage on its training captions has seen "
        "them. 74 rows have a caption of more than one photograph; see `read_joined`. Flickr30k and Multi30k have "
        "photographs of dev in their training splits."
    ),
)
