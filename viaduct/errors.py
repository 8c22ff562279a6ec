"""The error tree, and the one rule that prints it.

    ViaductError
      UsageError     a name, option or recipe that cannot be used as given
      DataError      a data file that is missing, damaged or not what it says it is
        NoRowsError  a file that several languages share lacks the one asked for
      StoreError     a results directory that does not fit what is asked of it
      DeviceError    a GPU that stopped working while it was used
      NumbersError   scores, vectors or losses that are no finite numbers, so that nothing may follow from them
      TransientError something that may work when tried again (a full lock queue, a lost file system)

A user's mistake is one message: what was given (file and line), what is allowed, the nearest match, how to fix it.
The command line prints it without a traceback and exits with status 2. Anything else is a bug and keeps its traceback.
"""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import extract_tb

LONGEST_LINE = 20_000
"""Characters of a message's line: what is given may be a file in the place of a word."""


def shortened(text: str, most: int = 60) -> str:
    """The text where it has at most so many characters, else as many of it, and three dots."""
    return text if len(text) <= most else f"{text[:most]}..."


class ViaductError(Exception):
    """A mistake that a person can correct; `str()` is the whole message."""

    def __init__(self, message: str, *, fix: str | None = None) -> None:
        whole = message if fix is None else f"{message}\n  how to fix: {fix}"
        super().__init__("\n".join(shortened(line, LONGEST_LINE) for line in whole.split("\n")))


class UsageError(ViaductError):
    """A name, option or recipe that cannot be used as given."""


class DataError(ViaductError):
    """A data file that is missing, damaged or not what it says it is."""

    def __init__(
        self, message: str, *, path: Path | None = None, line: int | None = None, fix: str | None = None
    ) -> None:
        where = "" if path is None else f"{path}: " if line is None else f"{path}, line {line}: "
        super().__init__(where + message, fix=fix)


class NoRowsError(DataError):
    """A file that several languages share has no rows of the language asked for."""


class StoreError(ViaductError):
    """A results directory that does not fit what is asked of it."""


class DeviceError(ViaductError):
    """A GPU that stopped working while it was used; what was begun goes on from its last checkpoint elsewhere."""


class NumbersError(ViaductError):
    """Scores, vectors or losses that are no finite numbers: the largest of them would be any one."""


class TransientError(ViaductError):
    """A fault of the moment: the same step may succeed when tried again."""


FULL = (errno.ENOSPC, errno.EDQUOT)
FULL_WORDS = re.compile(r"No space left|[Qq]uota exceeded|os error (28|122)\b|\d+ requested and \d+ written")
"""What safetensors, tokenizers, pyarrow and NumPy say in errors of their own."""
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
NO_PLACE = (errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP)
"""Of names where nothing can be made, as below a file."""


def unwritable(error: BaseException | None, where: str) -> StoreError | None:
    """The message for a write that failed because a disk is full or not ours to write on, or because of a file in the
    way of a folder; `where`: what was written to, where the error does not say. None for every other error."""
    while error is not None:
        number = error.errno if isinstance(error, OSError) else None
        if number in FULL or FULL_WORDS.search(str(error)):
            return StoreError(f"the disk of {where} is full", fix="make room and run the same command again to go on")
        a_folder = any(one.name.startswith("mk") for one in extract_tb(error.__traceback__)[-1:])
        if isinstance(error, OSError) and (number in FORBIDDEN + NO_PLACE or (number == errno.ENOENT and a_folder)):
            fix = "ask its owner for the right to write, or name a --store of your own (a report: --to)"
            if number not in FORBIDDEN:
                fix = "name a folder that is there or can be made; no file, and nothing below one"
            return StoreError(f"{error.filename or where} cannot be written or read: {error.strerror}", fix=fix)
        error = error.__cause__
    return None


@contextmanager
def one_message(where: object) -> Iterator[None]:
    """Inside, errors of full and forbidden disks become StoreErrors."""
    try:
        yield
    except ViaductError:
        raise
    except Exception as error:
        if (said := unwritable(error, str(where))) is not None:
            raise said from error
        raise


LOST = re.compile(r"CUDA (driver )?error: (?!out of memory|device-side assert)|GPU is lost|NVML.*(lost|unavailable)")
"""What torch says of a GPU that is gone. A failed assertion on the device is a mistake in a program."""


OUT_OF_MEMORY = re.compile(r"out of memory|DefaultCPUAllocator|could not create a (primitive|memory)")
"""What torch and oneDNN say where a device's memory, or the machine's, is full."""


def is_full(error: BaseException) -> bool:
    """Whether memory ran out."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and OUT_OF_MEMORY.search(str(error)) is not None
    )


@contextmanager
def device_watched(what: str) -> Iterator[None]:
    """Inside, the errors of a GPU that is lost become DeviceErrors, and those of full memory UsageErrors; `what`: what
    was computed."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if is_full(error):
            said = str(error).partition("\n")[0].strip() or "no more is to be had"
            fix = "close what else uses it, or take a device with more; the same command goes on from there"
            raise UsageError(f"{what}: the memory is full ({said})", fix=fix) from error
        if (found := LOST.search(str(error))) is None:
            raise
        said = str(error)[found.start() :].partition("\n")[0]
        fix = "look at nvidia-smi and the system's log; the same command goes on from the last checkpoint"
        raise DeviceError(f"{what}: the GPU stopped working ({said})", fix=fix) from error


@contextmanager
def no_exit(what: str) -> Iterator[None]:
    """Inside, a `sys.exit` of other people's code becomes a UsageError: the command would end without a word, and
    with success where that says so; `what`: whose code it is."""
    try:
        yield
    except SystemExit as error:
        fix = "raise an error there that says what is wrong"
        raise UsageError(f"{what} ends the program, by sys.exit({error.code!r})", fix=fix) from error


def absence(folder: Path) -> str:
    """What is to be said of a folder that is none."""
    return "is a file, and no folder" if folder.is_file() else "does not exist"


def nearest(given: str, known: Iterable[str]) -> str | None:
    """The known name closest to `given`, or None when nothing is close."""
    matches = difflib.get_close_matches(given.lower(), {name.lower(): name for name in known}, n=1, cutoff=0.5)
    return next((name for name in known if name.lower() == matches[0]), None) if matches else None


def unknown(what: str, given: str, known: Iterable[str]) -> UsageError:
    """The error for a name that does not exist: what was given, the nearest match, what is allowed."""
    names = sorted(known)
    shown = shortened(given)
    close = nearest(shown, names)
    hint = f" Did you mean '{close}'?" if close else ""
    return UsageError(f"unknown {what} '{shown}'.{hint}", fix=f"use one of: {', '.join(map(shortened, names))}")
