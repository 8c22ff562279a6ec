"""Generating the world: complete or not at all, the same bytes each time, never over somebody's files."""

from __future__ import annotations

import gzip
import subprocess
import sys
import time
from pathlib import Path

import pytest

from viaduct.errors import DataError, UsageError
from viaduct.miniature.lexicon import LANGUAGES, OF_TASK
from viaduct.miniature.world import MARKER, read_manifest, write
from viaduct.rows import Pair, Row, Sentence, Span, Tagged
from viaduct.tasks.card import read
from viaduct.tasks.catalogue import Catalogue

CARDS = Catalogue.builtin()

TINY = 0.001


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_same_seed_gives_the_same_bytes(small_world: Path, tmp_path: Path) -> None:
    write(tmp_path / "again", seed=1, scale=0.05)
    assert contents(tmp_path / "again") == contents(small_world)


def test_other_seed_gives_other_sentences(tmp_path: Path) -> None:
    write(tmp_path / "one", seed=1, scale=TINY)
    write(tmp_path / "two", seed=2, scale=TINY)
    one, two = contents(tmp_path / "one"), contents(tmp_path / "two")
    assert one.keys() == two.keys()
    assert all(one[name] != two[name] for name in one)


def test_manifest_lists_every_file(small_world: Path) -> None:
    manifest = read_manifest(small_world)
    assert manifest is not None
    files = contents(small_world)
    assert set(manifest.rows) == set(files) - {MARKER}
    assert manifest.num_bytes == sum(len(content) for name, content in files.items() if name != MARKER)


def test_existing_world_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "world"
    made = write(folder, scale=TINY)
    (folder / "text" / "en.txt.gz").write_bytes(b"mine")
    assert write(folder, scale=TINY) == made
    assert (folder / "text" / "en.txt.gz").read_bytes() == b"mine"


@pytest.mark.parametrize(("seed", "scale"), [(2, TINY), (1, 0.002)])
def test_another_world_is_not_overwritten(tmp_path: Path, seed: int, scale: float) -> None:
    write(tmp_path / "world", scale=TINY)
    before = contents(tmp_path / "world")
    with pytest.raises(UsageError, match=f"seed {seed}, scale {scale}"):
        write(tmp_path / "world", seed=seed, scale=scale)
    assert contents(tmp_path / "world") == before


def test_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("important")
    with pytest.raises(UsageError, match="neither an empty folder nor"):
        write(tmp_path, scale=TINY)
    assert contents(tmp_path) == {"thesis.tex": b"important"}


def test_empty_folder_is_used(tmp_path: Path) -> None:
    (tmp_path / "world").mkdir()
    write(tmp_path / "world", scale=TINY)
    assert read_manifest(tmp_path / "world") is not None


def test_interrupted_generation_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(done: float, total: float, message: str) -> None:
        if done >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "world", scale=TINY, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_progress_goes_from_nothing_to_all(tmp_path: Path) -> None:
    seen: list[float] = []
    write(tmp_path / "world", scale=TINY, progress=lambda done, total, message: seen.append(done / total))
    assert seen[0] == 0 and seen[-1] == 1 and seen == sorted(seen)


def test_damaged_marker_is_an_error(tmp_path: Path) -> None:
    (tmp_path / MARKER).write_text("{")
    with pytest.raises(DataError, match="damaged marker"):
        write(tmp_path)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("inf"), float("nan")])
def test_scale_must_be_positive(tmp_path: Path, scale: float) -> None:
    with pytest.raises(UsageError, match="must be positive"):
        write(tmp_path / "world", scale=scale)


def test_torch_is_not_needed() -> None:
    imports = "import sys, viaduct.miniature.world, viaduct.miniature.layouts"
    code = f"{imports}; print({{'torch', 'transformers'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def sentences_of(row: Row) -> list[str]:
    """Texts that must not be seen in training; for tagged rows the joined tokens, which are compared without blanks."""
    if isinstance(row, Pair):
        return [row.first, row.second]
    if isinstance(row, Span):
        return [row.context]
    if isinstance(row, Sentence):
        return [row.text]
    assert isinstance(row, Tagged)
    return ["".join(row.tokens)]


def squeezed(text: str) -> str:
    return text.replace(" ", "").replace("\u200c", "")


@pytest.mark.parametrize("language", LANGUAGES)
def test_evaluation_sentences_are_not_in_pretraining_text(small_world: Path, language: str) -> None:
    evaluated = {
        squeezed(sentence)
        for name, languages in OF_TASK.items()
        for split in ("dev", "test")
        if (language in languages or language == "en")
        and not (split == "dev" and name in ("xquad", "tydiqa", "tatoeba"))
        for pair in ([language] if language in languages else languages)
        for row in read(CARDS.task(name), small_world, pair, split).rows
        if not (isinstance(row, Sentence) and (row.side == "target") != (language == "en"))
        for sentence in sentences_of(row)
    }
    assert len(evaluated) > 40
    text = gzip.decompress((small_world / "text" / f"{language}.txt.gz").read_bytes()).decode().splitlines()
    if language == "en":
        text += [
            row.first for row in read(CARDS.task("ntrex"), small_world, "de", "train").rows if isinstance(row, Pair)
        ]
    else:
        text += [
            row.second
            for row in read(CARDS.task("ntrex"), small_world, language, "train").rows
            if isinstance(row, Pair)
        ]
    for line in text:
        assert squeezed(line) not in evaluated


@pytest.mark.parametrize(
    ("name", "trained"), [("xnli", "mnli"), ("pawsx", "pawsx"), ("udpos", "udpos"), ("panx", "panx"),
                          ("xquad", "squad"), ("mlqa", "squad"), ("tydiqa", "tydiqa")]
)  # fmt: skip
def test_training_rows_are_not_in_evaluation(small_world: Path, name: str, trained: str) -> None:
    seen = {sentences_of(row)[0] for row in read(CARDS.task(trained), small_world, "en", "train").rows}
    for split in ("dev", "test") if name not in ("xquad", "tydiqa") else ("test",):
        assert not seen & {sentences_of(row)[0] for row in read(CARDS.task(name), small_world, "en", split).rows}


@pytest.mark.slow
def test_whole_world_is_small_and_quick(tmp_path: Path) -> None:
    begun = time.process_time()
    made = write(tmp_path / "world")
    assert time.process_time() - begun < 30
    assert made.num_bytes < 40_000_000
