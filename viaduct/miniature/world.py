"""The miniature world: every task of XTREME, text and pictures, generated as small files in the official formats.

`write` makes it from a seed; the same seed, scale and library versions give the same bytes. It is a smoke test and a
demonstration, never evidence about languages or models. What each task asks is in `docs/miniature.md`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from random import Random

from viaduct.errors import DataError, UsageError
from viaduct.languages import language as language_of
from viaduct.miniature import layouts, pairs, pictures, questions, retrieval, tagging
from viaduct.miniature.layouts import Folder
from viaduct.miniature.lexicon import LANGUAGES, OF_TASK
from viaduct.miniature.sentences import Meaning, text
from viaduct.paths import is_vacant
from viaduct.results.working import working_folder

VERSION = 4
"""Bump this with every change that alters a byte of the world."""

_CHANCE = "1"
"""Part of every seed; it stays the same so that a new version changes only the files that it concerns."""

MARKER = "MINIATURE.json"
"""Marker file, written last: a folder that has it is complete."""

SIZES = {
    "xnli_train": 6_000, "xnli_dev": 300, "xnli_test": 300,
    "halves_train": 4_000, "halves_dev": 300, "halves_test": 300,
    "pawsx_train": 4_000, "pawsx_dev": 300, "pawsx_test": 300,
    "tagging_train": 2_000, "tagging_dev": 200, "tagging_test": 150,
    "squad_train": 3_000, "squad_dev": 300, "squad_test": 150,
    "tydiqa_train": 1_000, "tydiqa_other_train": 100, "tydiqa_test": 150,
    "tatoeba": 200, "bucc_dev": 300, "bucc_dev_gold": 100, "bucc_test": 600, "bucc_test_gold": 200,
    "text": 4_000, "parallel": 2_000, "scenes_train": 1_000, "scenes_val": 100,
}  # fmt: skip
"""Numbers of pairs, sentences, questions, lines (each per language) and scenes at scale 1."""

_SMALLEST = 6
_PACKAGES = ("emoji", "babel", "pillow", "matplotlib")

Progress = Callable[[float, float, str], None]
"""Called with (steps done, total steps, what is being generated)."""


@dataclass(frozen=True)
class Manifest:
    """The description of a generated world, as stored in its marker file."""

    version: int
    seed: int
    scale: float
    languages: tuple[str, ...]
    packages: dict[str, str]
    """Package that names or pictures come from -> its version."""
    num_bytes: int
    rows: dict[str, int]
    """Relative path -> rows in the file."""


def read_manifest(directory: Path) -> Manifest | None:
    """The manifest of the world in this folder; None if there is no complete world.

    Raises DataError if the marker file is damaged.
    """
    path = directory / MARKER
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Manifest(**{**content, "languages": tuple(content["languages"])})
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"damaged marker of a miniature world ({error})", path=path, fix="delete the folder") from error


def write(directory: Path, *, seed: int = 1, scale: float = 1.0, progress: Progress | None = None) -> Manifest:
    """Generate the world in `directory` unless it is already there, and return its manifest.

    All sizes are multiplied by `scale` (but are never below a few). The folder appears complete or not at all; an
    existing complete world with the same seed, scale and version is left as it is.

    Raises UsageError if `scale` is not positive, or if the folder holds anything else.
    """
    if not 0 < scale < float("inf"):
        raise UsageError(f"the scale is {scale}, but must be positive", fix="use 1.0, or 0.05 for a quick test")
    existing = read_manifest(directory)
    if existing is not None and (existing.version, existing.seed, existing.scale) == (VERSION, seed, scale):
        return existing
    if existing is not None:
        raise UsageError(
            f"{directory} holds another miniature world (version {existing.version}, seed {existing.seed}, scale "
            f"{existing.scale}), not version {VERSION}, seed {seed}, scale {scale}",
            fix="choose another folder, or delete this one",
        )
    if not is_vacant(directory):
        raise UsageError(
            f"{directory} is neither an empty folder nor a miniature world", fix="choose a folder that does not exist"
        )
    return _write_atomically(directory, seed, scale, progress or _silent)


def _silent(done: float, total: float, message: str) -> None:
    """Show no progress."""


def _write_atomically(directory: Path, seed: int, scale: float, progress: Progress) -> Manifest:
    with working_folder(directory.parent, f".{directory.name}-") as unfinished:
        folder = Folder(unfinished)
        _World(folder, seed, scale).write_all(progress)
        packages = {name: version(name) for name in _PACKAGES}
        rows = dict(sorted(folder.rows.items()))
        manifest = Manifest(VERSION, seed, scale, LANGUAGES, packages, folder.num_bytes, rows)
        (unfinished / MARKER).write_text(json.dumps(asdict(manifest), indent=1) + "\n", encoding="utf-8")
        return _published(unfinished, directory, manifest)


def _published(unfinished: Path, directory: Path, manifest: Manifest) -> Manifest:
    try:
        unfinished.replace(directory)
    except OSError:
        # another process may have finished the same world in the meantime
        existing = read_manifest(directory)
        if existing != manifest:
            raise
    return manifest


class _World:
    """One world while it is being generated, and the evaluation sentences that training text must not contain."""

    def __init__(self, folder: Folder, seed: int, scale: float) -> None:
        self.folder = folder
        self.seed = seed
        self.scale = scale
        self.closed: dict[str, set[str]] = {language: set() for language in LANGUAGES}

    def write_all(self, progress: Progress) -> None:
        """Write everything: evaluation data before plain text, which must not contain them."""
        steps: tuple[tuple[str, Callable[[], None]], ...] = (
            ("inference", self.make_inference),
            ("halves", self.make_halves),
            ("paraphrases", self.make_paraphrases),
            ("parts of speech", lambda: self.make_tagging("udpos")),
            ("named entities", lambda: self.make_tagging("panx")),
            ("questions", self.make_questions),
            ("questions of the second kind", self.make_typologically_diverse),
            ("translations to find", self.make_retrieval),
            ("pictures", self.make_pictures),
            ("parallel text", self.make_parallel),
            ("plain text", self.make_plain),
        )
        for done, (name, make) in enumerate(steps):
            progress(done, len(steps), name)
            make()
        progress(len(steps), len(steps), "done")

    def random(self, *names: str) -> Random:
        """A random source for this purpose, independent of all others."""
        return Random("/".join((_CHANCE, str(self.seed), *names)))

    def size(self, name: str) -> int:
        """The number of this name in `SIZES` at this scale, or a small minimum."""
        return max(_SMALLEST, round(SIZES[name] * self.scale))

    def close(self, meanings: Iterable[Meaning], languages: Iterable[str]) -> None:
        """Keep these sentences out of plain and parallel text."""
        chosen = tuple(meanings)
        for language in languages:
            self.closed[language].update(text(meaning, language) for meaning in chosen)

    def make_inference(self) -> None:
        """Write MultiNLI and XNLI."""
        languages = OF_TASK["xnli"]
        taken: set[tuple[Hashable, ...]] = set()
        made = {}
        for split in ("test", "dev", "train"):
            count, random = self.size(f"xnli_{split}"), self.random("xnli", split)
            made[split] = pairs.many(pairs.inference, pairs.INFERENCE, count, random, taken)
        for split in ("test", "dev"):
            layouts.xnli(self.folder, split, made[split], languages)
            self.close((side for pair in made[split] for side in (pair.first, pair.second)), languages)
        layouts.mnli(self.folder, made["train"], made["dev"], languages)

    def make_halves(self) -> None:
        """Write inference pairs in halves: a row has one half, its translation the other."""
        taken: set[tuple[Hashable, ...]] = set()
        for split in ("test", "dev", "train"):
            random, made = self.random("halves", split), []
            for label in pairs.INFERENCE * -(-self.size(f"halves_{split}") // len(pairs.INFERENCE)):
                pair = pairs.halves(random, label)
                while (key := (*map(pairs.taken_key, (pair[0].first, pair[1].first, pair[0].second)),)) in taken:
                    pair = pairs.halves(random, label)
                taken.add(key)
                made.append(pair)
            random.shuffle(made)
            layouts.halves(self.folder, split, made, OF_TASK["xnli"])

    def make_paraphrases(self) -> None:
        """Write PAWS-X."""
        languages = OF_TASK["pawsx"]
        taken: set[tuple[Hashable, ...]] = set()
        for split in ("test", "dev", "train"):
            count, random = self.size(f"pawsx_{split}"), self.random("pawsx", split)
            made = pairs.many(pairs.paraphrase, pairs.PARAPHRASE, count, random, taken)
            layouts.pawsx(self.folder, split, made, languages)
            if split != "train":
                self.close((side for pair in made for side in (pair.first, pair.second)), languages)

    def make_tagging(self, task: str) -> None:
        """Write the treebanks or PAN-X; training sentences are English only, and languages share no sentences."""
        constructions = tagging.PARTS_OF_SPEECH if task == "udpos" else tagging.ENTITIES
        put = layouts.udpos if task == "udpos" else layouts.panx
        taken: set[str] = set()
        for split in ("test", "dev", "train"):
            for language in OF_TASK[task] if split != "train" else ("en",):
                count, random = self.size(f"tagging_{split}"), self.random(task, split, language)
                made = tagging.many(constructions, count, random, taken)
                put(self.folder, split, made, language)
                if split != "train":
                    self.close(made, (language,))

    def make_questions(self) -> None:
        """Write SQuAD, and XQuAD and MLQA in its style; the passages of each are the same in all languages."""
        taken: set[str] = set()

        def make(task: str, size: str, per_passage: int) -> tuple[questions.Passage, ...]:
            return questions.many("squad", self.size(size), self.random(task), taken, per_passage=per_passage)

        evaluated = (("xquad", "test", "squad_test"), ("mlqa", "test", "squad_test"), ("mlqa", "dev", "squad_test"))
        for task, split, size in evaluated:
            made = make(f"{task}-{split}", size, 3)
            for language in OF_TASK[task]:
                name = (
                    f"xquad/xquad.{language}.json"
                    if task == "xquad"
                    else f"mlqa/MLQA_V1/{split}/{split}-context-{language}-question-{language}.json"
                )
                layouts.squad(self.folder, (name, f"download/{name}"), made, language, ids=f"{task}-{split}-")
                self.close_passages(made, language)
        for split in ("dev", "train"):
            made = make(f"squad-{split}", f"squad_{split}", 3 if split == "dev" else 2)
            name = f"squad/{split}-v1.1.json"
            layouts.squad(self.folder, (name, f"download/{name}"), made, "en", ids=f"squad-{split}-")
            if split == "dev":
                self.close_passages(made, "en")

    def close_passages(self, made: Iterable[questions.Passage], language: str) -> None:
        """Keep these passages out of plain text."""
        self.closed[language].update(questions.context(passage, language) for passage in made)

    def make_typologically_diverse(self) -> None:
        """Write TyDiQA-GoldP: own passages for each language, in another style; few for training except in English."""
        taken: set[str] = set()
        for split in ("dev", "train"):
            for language in OF_TASK["tydiqa"]:
                size = "tydiqa_test" if split == "dev" else "tydiqa_train" if language == "en" else "tydiqa_other_train"
                random = self.random("tydiqa", split, language)
                made = questions.many("tydiqa", self.size(size), random, taken, per_passage=1)
                stem = f"tydiqa/tydiqa-goldp-v1.1-{split}/tydiqa.goldp.{language}.{split}.json"
                name = language_of(language).name.lower()
                layouts.squad(self.folder, (stem, f"download/{stem}"), made, language, ids=f"{name}-{split}-")
                if split == "dev":
                    self.close_passages(made, language)

    def make_retrieval(self) -> None:
        """Write Tatoeba and BUCC."""
        for language in OF_TASK["tatoeba"]:
            taken: set[Meaning] = set()
            found = retrieval.families(self.size("tatoeba"), self.random("tatoeba", language), taken)
            layouts.tatoeba(self.folder, found, language)
            self.close(found, (language, "en"))
        for language in OF_TASK["bucc"]:
            taken = set()
            for split in ("dev", "test"):
                size, gold = self.size(f"bucc_{split}"), self.size(f"bucc_{split}_gold")
                made = retrieval.mine(max(size, 2 * gold), gold, self.random("bucc", split, language), taken)
                layouts.bucc(self.folder, split, made, language)
                self.close(made.source, (language,))
                self.close(made.target, ("en",))
                self.close((made.source[ours] for ours, _ in made.gold), (language, "en"))

    def make_pictures(self) -> None:
        """Write COCO."""
        val = pictures.held_out(self.size("scenes_val"), self.random("coco", "val"))
        held = frozenset(scene.things for scene in val)
        train = pictures.many(self.size("scenes_train"), self.random("coco", "train"), held)
        layouts.coco(self.folder, "val", val, 1, LANGUAGES)
        layouts.coco(self.folder, "train", train, 1 + len(val), LANGUAGES)
        self.close((caption for scene in val for caption in scene.captions), LANGUAGES)

    def make_parallel(self) -> None:
        """Write NTREX."""
        closed = tuple(frozenset(self.closed[language]) for language in LANGUAGES)
        made = retrieval.parallel(self.size("parallel"), self.random("ntrex"), closed, LANGUAGES)
        layouts.ntrex(self.folder, made)

    def make_plain(self) -> None:
        """Write plain text for pretraining."""
        for language in LANGUAGES:
            closed = frozenset(self.closed[language])
            lines = retrieval.plain(language, self.size("text"), self.random("text", language), closed)
            layouts.plain(self.folder, lines, language)
