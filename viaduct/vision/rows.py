"""Rows of images with captions, or with a text and a label; their kinds, and what `viaduct check` says about files."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from viaduct.rows import Row
from viaduct.tasks.kind import Inspection, RowKind


@dataclass(frozen=True, slots=True)
class Picture:
    """Where the bytes of an image file are: a file of its own, a member of a tar file, or a row of a Parquet file."""

    path: str
    member: str | None = None
    """Name in the tar file, or number of the Parquet row; None: `path` is the image file itself."""


@dataclass(frozen=True, slots=True)
class Captioned(Row):
    """An image and its captions in one language; `id` is the image's: the same image has the same id in every
    language."""

    image: Picture | None
    """None where captions are published without their images."""
    captions: tuple[str, ...]
    origin: str
    """Who made the captions: "people", "machine" (translation), "names" (CLDR's names of emoji) or "rules"."""

    @property
    def texts(self) -> tuple[str, ...]:
        """The captions."""
        return self.captions

    @property
    def compared(self) -> tuple[str, ...]:
        """The image's id: a different caption does not make it a different example."""
        return (self.id,)

    @property
    def group(self) -> str:
        """The image's id."""
        return self.id

    @property
    def is_labelled(self) -> bool:
        """Always true, because captions are all that is needed."""
        return True

    @property
    def lengths(self) -> tuple[int, ...]:
        """Characters of each caption."""
        return tuple(map(len, self.captions))


@dataclass(frozen=True, slots=True)
class Pictured(Row):
    """An image, a text about it and a label: whether the text is true of the image, or the answer to a question."""

    photo: str
    """The image's id, the same as in a card that has its captions."""
    image: Picture | None
    premise: str | None
    """What the image shows, in words; None if nobody has described it."""
    text: str
    label: str | None

    @property
    def texts(self) -> tuple[str, ...]:
        """The premise, if there is one, and the text."""
        return (self.text,) if self.premise is None else (self.premise, self.text)

    @property
    def group(self) -> str:
        """The image's id."""
        return self.photo

    @property
    def gold(self) -> str | None:
        """The label."""
        return self.label


def inspect(rows: Sequence[Row], shared: Collection[str]) -> Inspection:
    """Counts the images of one split in one language; `shared`: ids that also occur in training rows of any language.

    An image is absent if its row names none (the folder of images does not exist, or captions are published without
    images); it is missing from the disk if the file that its row names does not exist.
    """
    captioned = [row for row in rows if isinstance(row, Captioned)]
    counts = [len(row.captions) for row in captioned]
    names: dict[str, frozenset[str]] = {}  # listing a folder once is much faster than checking each file
    missing = []
    for path in dict.fromkeys(row.image.path for row in captioned if row.image is not None):
        folder, name = os.path.split(path)
        if folder not in names:
            names[folder] = frozenset(os.listdir(folder)) if os.path.isdir(folder) else frozenset()  # noqa: PTH112, PTH208
        if name not in names[folder]:
            missing.append(path)
    absent = sum(row.image is None for row in captioned)
    return Inspection(
        counted="images",
        contents={
            "captions": sum(counts),
            "fewest per image": min(counts),
            "most per image": max(counts),
        },
        state={"no image": absent, "not on disk": len(missing)},
        named={
            "not on disk": tuple(missing),
            "in training rows too": tuple(row.id for row in captioned if row.id in shared),
        },
    )


def files(rows: Sequence[Row]) -> list[Path | None]:
    """The image files; None for a row without an image, or with one inside the rows' tar or Parquet file."""
    images = [row.image if isinstance(row, Captioned | Pictured) else None for row in rows]
    return [None if image is None or image.member is not None else Path(image.path) for image in images]


CAPTIONED = RowKind(
    "captioned",
    Captioned,
    tokens_per_row=60,
    has_gold=False,
    same_in_all_languages=True,
    files=files,
    inspect=inspect,
)

PICTURED = RowKind("pictured", Pictured, tokens_per_row=45, label_set="closed", files=files)
