"""Rows of captioned images, their kind, and what `viaduct check` tells of their files."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from viaduct.rows import Row
from viaduct.tasks.kind import RowKind


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
        """The image: another caption makes it no other example."""
        return (self.id,)

    @property
    def group(self) -> str:
        """The image."""
        return self.id

    @property
    def is_labelled(self) -> bool:
        """Captions are all that is asked for."""
        return True

    @property
    def lengths(self) -> tuple[int, ...]:
        """Of each caption."""
        return tuple(map(len, self.captions))


@dataclass(frozen=True, slots=True)
class Images:
    """The images of one split of one language, as a `viaduct.tasks.kind.Inspection`."""

    captions: int
    fewest: int
    """Captions of an image."""
    most: int
    absent: int
    """Rows without an image: the folder of images is not there, or they are not published."""
    missing: tuple[str, ...]
    """Files that are not there, though their folder is."""
    shared: tuple[str, ...]
    """Ids that the training rows of any language have too; () for those themselves."""

    @property
    def counted(self) -> str:
        """What a row is called."""
        return "images"

    @property
    def contents(self) -> Mapping[str, str]:
        """Columns in the place of labels."""
        each = f"{self.fewest}" if self.fewest == self.most else f"{self.fewest}-{self.most}"
        return {"captions": f"{self.captions:,}", "per image": each}

    @property
    def state(self) -> Mapping[str, str]:
        """Columns on what is wrong."""
        return {"no image": f"{self.absent:,}", "not on disk": f"{len(self.missing):,}"}

    @property
    def named(self) -> Mapping[str, tuple[str, ...]]:
        """What is wrong -> the images that are told by name."""
        return {"not on disk": self.missing, "in training rows too": self.shared}


def inspect(rows: Sequence[Row], shared: Collection[str]) -> Images:
    """The counts of these captioned rows; `shared` are the ids that are also in the training rows."""
    captioned = [row for row in rows if isinstance(row, Captioned)]
    counts = [len(row.captions) for row in captioned]
    names: dict[str, frozenset[str]] = {}  # listing a folder once is much faster than asking for each file
    missing = []
    for path in dict.fromkeys(row.image.path for row in captioned if row.image is not None):
        folder, name = os.path.split(path)
        if folder not in names:
            names[folder] = frozenset(os.listdir(folder)) if os.path.isdir(folder) else frozenset()  # noqa: PTH112, PTH208
        if name not in names[folder]:
            missing.append(path)
    return Images(
        captions=sum(counts),
        fewest=min(counts),
        most=max(counts),
        absent=sum(row.image is None for row in captioned),
        missing=tuple(missing),
        shared=tuple(row.id for row in captioned if row.id in shared),
    )


CAPTIONED = RowKind(
    "captioned",
    Captioned,
    tokens_per_row=60,
    has_gold=False,
    same_in_all_languages=True,
    inspect=inspect,
)
