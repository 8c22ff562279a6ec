"""Damages data files of every reader at random and checks what becomes of them.

    python tests/campaign.py --files 1000 --seed 1

A file that is read in spite of its damage must give the same rows as before, or different rows only where its bytes
differ (`REASONS` says why that cannot be detected). Every other file must be refused with one message. Tracebacks,
readers that hang or fill the memory, and rows that change where nothing was damaged fail the campaign.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from damage import DAMAGES
from damage_files import BUILT_IN, Content, Files, content_of, own_cards

from viaduct.errors import ViaductError
from viaduct.miniature.world import write
from viaduct.rows import Row
from viaduct.tasks.card import ROOTS, Located, Task, patterns, read_located
from viaduct.tasks.catalogue import Catalogue

SECONDS = 60
"""Time limit after which a reader is considered to hang."""
MOST_BYTES = 10**9
"""Maximum memory for reading one of these small files."""
LONGEST_MESSAGE = 50_000
REACH = 4
"""Rows one damage may affect: a word of a paragraph is in all its questions, 60 bytes can span several short lines."""

REASONS = {
    **dict.fromkeys(
        (
            "a letter",
            "a bit flipped",
            "a word of 300,000 letters",
            "a number of 5,000 digits",
            "a mark gone",
            "a mark more",
        ),
        "another text at this place; only a checksum could tell (Parquet's are verified where a file has them, and "
        "there one byte may be the length of a text), and a stage's identity holds the file's",
    ),
    **dict.fromkeys(
        ("some bytes gone", "a line gone", "a line twice", "a line moved", "a blank line", "a tab gone", "a tab more"),
        "whole rows, or another text at this place; `check` shows the number of rows beside the published one, and "
        "twins. Of files whose lines belong together by their number, a line that is moved shifts those between",
    ),
    **dict.fromkeys(("a tab as a blank",), "a token of a file without tags may hold a blank"),
    **dict.fromkeys(
        ("cut", "cut after a line", "no last line end"),
        "all rows are whole but for the last sentence of a file that has no mark between its lines and its end; "
        "`check` shows the number of rows",
    ),
    "all twice": "all rows are there twice, which `check` counts",
    "CRLF": "a line end inside a quoted field is another one",
    **dict.fromkeys(
        (
            "null",
            "a number for a text",
            "a list for a text",
            "NaN",
            "half a character",
            "NUL escaped",
            "50,000 brackets",
        ),
        "the text of a file that is not JSON",
    ),
    "only brackets": "a text, or a token of a file without tags, which cannot be scored",
    "a byte order mark inside": "it stands alone before a tab, as PAN-X has it",
}
"""Damage -> why a file with it may still be read. Any other damage must be refused or change nothing."""


@dataclass(frozen=True)
class Case:
    """A reader with all its files for one language and split, one of which gets damaged."""

    name: str
    task: Task
    located: Located
    language: str
    split: str

    def read(self) -> tuple[Row, ...]:
        """The rows of the files, as a stage reads them."""
        return read_located(self.task, self.located, self.language, self.split).rows


def _located(task: Task, root: Path, language: str, split: str) -> Iterator[Located]:
    """The files of every source of the card that is present, not only of the first one."""
    for source in task.sources:
        wanted = patterns(source, language, split)
        folders = ROOTS if source.hub is None else (f"hub/{source.hub.repository}",)
        for folder in folders if wanted is not None else ():
            found = {role: tuple(sorted((root / folder).glob(path))) for role, path in (wanted or {}).items()}
            if all(found.values()):
                yield Located(source, found)


def cases(folder: Path) -> list[Case]:
    """One case for every reader of every card, from the miniature world and from the files of `damage_files`."""
    world = folder / "world"
    write(world, scale=0.02)
    made: list[Case] = []
    catalogue = Catalogue.builtin()
    for task in catalogue:
        seen: set[tuple[int, str]] = set()
        for split in ("dev", "test", "train"):
            for language in sorted(task.languages, key=lambda code: code == "en"):
                for number, one in enumerate(_located(task, world, language, split)):
                    key = (number, one.source.layout)
                    if key not in seen:
                        seen.add(key)
                        made.append(Case(f"{task.name} {one.source.layout} {number}", task, one, language, split))
    own = [(catalogue.task(name), split, code, forms) for (name, split, code), forms in BUILT_IN.items()]
    own += [(task, "dev", "en", forms) for task, forms in own_cards(folder)]
    for number, (task, split, code, forms) in enumerate(own):
        for form, files in enumerate(forms):
            root = folder / f"{number}-{form}"
            _put(root, files)
            found = next(iter(_located(task, root, code, split)))
            made.append(Case(f"{task.name} {next(iter(files))}", task, found, code, split))
    return made


def _put(root: Path, files: Files) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


@contextlib.contextmanager
def _alarm() -> Iterator[None]:
    def late(_number: int, _frame: object) -> None:
        raise TimeoutError("the reader waits, or takes too long")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _peak(reset: bool = False) -> int:
    """Peak memory of the process since the last reset, in bytes; 0 if the system does not report it."""
    about = Path("/proc/self")
    try:
        if reset:
            (about / "clear_refs").write_text("5", encoding="ascii")
        lines = (about / "status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM")), 0)


def outcome(case: Case, before: Sequence[Row], damage: str, file: Path) -> tuple[str, str]:
    """("refused", "same", "changed" or "fault"; details in words)."""
    held = _peak(reset=True)
    try:
        with _alarm():
            after = case.read()
    except ViaductError as error:
        message = str(error)
        if len(message) > LONGEST_MESSAGE or (file.name not in message and "\n  how to fix" not in message):
            return "fault", f"a message of {len(message):,} characters: {message[:200]}"
        return "refused", message
    except Exception:
        return "fault", traceback.format_exc(limit=-3)
    if _peak() - held > MOST_BYTES:
        return "fault", f"{(_peak() - held) >> 20:,} MiB"
    fault = _unlike(case, before, after, damage)
    if fault is None:
        return "same", ""
    return ("changed", fault) if _may(case, before, after, damage) else ("fault", fault)


def _unlike(case: Case, before: Sequence[Row], after: Sequence[Row], damage: str) -> str | None:
    ours, theirs = [content_of(row) for row in before], [content_of(row) for row in after]
    if ours == theirs:
        return None
    gone, come = _difference(ours, theirs)
    return f"{gone} rows of {len(ours)} gone, {come} new"


def _difference(ours: Sequence[Content], theirs: Sequence[Content]) -> tuple[int, int]:
    before, after = Counter(ours), Counter(theirs)
    return (before - after).total(), (after - before).total()


def _may(case: Case, before: Sequence[Row], after: Sequence[Row], damage: str) -> bool:
    """Whether the rows may change in this way after this damage."""
    if damage not in REASONS:
        return False
    ours, theirs = [content_of(row) for row in before], [content_of(row) for row in after]
    if damage == "all twice":
        captions = [(texts * 2, gold) for texts, gold in ours]  # of an image that is listed twice
        return Counter(theirs) in (Counter(ours * 2), Counter(captions))
    gone, come = _difference(ours, theirs)
    if damage == "only brackets":
        return come <= 1
    if damage in ("cut", "cut after a line", "no last line end"):
        has_all_texts = case.task.kind == "mining" and len(ours) == len(theirs)  # the end of gold is not marked
        return come <= (case.task.kind == "tagged") or has_all_texts
    is_aligned = damage == "a line moved" and len(case.located.files) > 1
    is_binary = case.located.paths[0].suffix == ".parquet"
    return is_aligned or is_binary or (gone <= REACH and come <= REACH)


def run(files: int, seed: int) -> dict[tuple[str, str, str], list[str]]:
    """Damage this many files and read them: (outcome, damage, reader) -> the messages."""
    random = Random(seed)
    found: dict[tuple[str, str, str], list[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        there = cases(Path(folder))
        whole = [case.read() for case in there]
        names = list(DAMAGES)
        for number in range(files):
            at, damage = number % len(there), random.choice(names)
            case, file = there[at], random.choice(there[at].located.paths)
            content = file.read_bytes()
            file.write_bytes(DAMAGES[damage](content, random))
            said, words = outcome(case, whole[at], damage, file)
            file.write_bytes(content)
            found.setdefault((said, damage, case.name), []).append(words)
    return found


def main() -> None:
    """Print what became of the files; exit with status 1 if a reader failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    found = run(asked.files, asked.seed)
    counts = Counter({key: len(words) for key, words in found.items()})
    totals = Counter[str]()
    for (said, _, _), count in counts.items():
        totals[said] += count
    lines = [", ".join(f"{count:,} {said}" for said, count in totals.most_common())]
    for damage, reason in REASONS.items():
        readers = {name: count for (said, one, name), count in counts.items() if (said, one) == ("changed", damage)}
        if readers:
            lines.append(f"\n{damage}: read with other rows {sum(readers.values()):,} times, for {reason}:")
            lines.append("  " + ", ".join(f"{name} ({count})" for name, count in sorted(readers.items())))
    faults = [(damage, name, words) for (said, damage, name), words in found.items() if said == "fault"]
    lines += [f"\nFAULT: {damage} in {name} ({len(words)} times): {words[0]}" for damage, name, words in faults]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
