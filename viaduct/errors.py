"""The error hierarchy, and the rule by which errors are shown.

    ViaductError
      UsageError     a name, option or recipe that cannot be used as given
      DataError      a data file that is missing, damaged or not what it claims to be
        NoRowsError  a file shared by several languages lacks the requested one
      StoreError     a results directory that does not fit the request
      DeviceError    a GPU that stopped working while in use
      NumbersError   non-finite scores, vectors or losses, from which nothing may be concluded
      TransientError something that may work on a retry (a full lock queue, a lost file system)

A user's mistake gives one message: what was given (file and line), what is allowed, the nearest match, how to fix it.
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
"""Most characters in a line of a message: someone may have passed a whole file in place of a word."""


def shortened(text: str, most: int = 60) -> str:
    """The text, cut to `most` characters plus three dots if it is longer."""
    return text if len(text) <= most else f"{text[:most]}..."


class ViaductError(Exception):
    """A mistake that the user can correct; `str()` is the whole message."""

    def __init__(self, message: str, *, fix: str | None = None) -> None:
        whole = message if fix is None else f"{message}\n  how to fix: {fix}"
        super().__init__("\n".join(shortened(line, LONGEST_LINE) for line in whole.split("\n")))


class UsageError(ViaductError):
    """A name, option or recipe that cannot be used as given."""


class DataError(ViaductError):
    """A data file that is missing, damaged or not what it claims to be."""

    def __init__(
        self, message: str, *, path: Path | None = None, line: int | None = None, fix: str | None = None
    ) -> None:
        where = "" if path is None else f"{path}: " if line is None else f"{path}, line {line}: "
        super().__init__(where + message, fix=fix)


class NoRowsError(DataError):
    """A file shared by several languages has no rows in the requested one."""


class StoreError(ViaductError):
    """A results directory that does not fit the request."""


class DeviceError(ViaductError):
    """A GPU that stopped working while in use; the work resumes elsewhere from its last checkpoint."""


class NumbersError(ViaductError):
    """Non-finite scores, vectors or losses: which of them is largest would be arbitrary."""


class TransientError(ViaductError):
    """A transient fault: the same step may succeed on a retry."""


FULL = (errno.ENOSPC, errno.EDQUOT)
FULL_WORDS = re.compile(r"No space left|[Qq]uota exceeded|os error (28|122)\b|\d+ requested and \d+ written")
"""How safetensors, tokenizers, pyarrow and NumPy report a full disk in their own errors."""
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
NO_PLACE = (errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP)
"""Error numbers of paths at which nothing can be created, such as one below a file."""


def unwritable(error: BaseException | None, where: str) -> StoreError | None:
    """The error to show for a write that failed because a disk is full or not writable, or a file is in the way of a
    folder; None for every other error. `where`: what was written to, for errors that do not say."""
    while error is not None:
        number = error.errno if isinstance(error, OSError) else None
        if number in FULL or FULL_WORDS.search(str(error)):
            return StoreError(f"the disk of {where} is full", fix="make room and run the same command again to resume")
        a_folder = any(one.name.startswith("mk") for one in extract_tb(error.__traceback__)[-1:])
        if isinstance(error, OSError) and (number in FORBIDDEN + NO_PLACE or (number == errno.ENOENT and a_folder)):
            fix = "ask its owner for write permission, or name a --store of your own (a report: --to)"
            if number not in FORBIDDEN:
                fix = "name a folder that exists or can be created; not a file, nor anything below one"
            return StoreError(f"{error.filename or where} cannot be written or read: {error.strerror}", fix=fix)
        error = error.__cause__
    return None


@contextmanager
def one_message(where: object) -> Iterator[None]:
    """Turn errors from full or unwritable disks inside the block into StoreErrors."""
    try:
        yield
    except ViaductError:
        raise
    except Exception as error:
        if (said := unwritable(error, str(where))) is not None:
            raise said from error
        raise


LOST = re.compile(r"CUDA (driver )?error: (?!out of memory|device-side assert)|GPU is lost|NVML.*(lost|unavailable)")
"""How torch reports a lost GPU. A failed device-side assertion is excluded: that is a bug in a program."""


OUT_OF_MEMORY = re.compile(r"out of memory|DefaultCPUAllocator|could not create a (primitive|memory)")
"""How torch and oneDNN report that the memory of a device or of the machine is full."""


def is_full(error: BaseException) -> bool:
    """Whether memory ran out."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and OUT_OF_MEMORY.search(str(error)) is not None
    )


@contextmanager
def device_watched(what: str) -> Iterator[None]:
    """Turn errors from a lost GPU inside the block into DeviceErrors, and out-of-memory errors into UsageErrors;
    `what`: what was being computed."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if is_full(error):
            said = str(error).partition("\n")[0].strip() or "no more is available"
            fix = "close whatever else uses it, or use a device with more; the same command resumes from there"
            raise UsageError(f"{what}: the memory is full ({said})", fix=fix) from error
        if (found := LOST.search(str(error))) is None:
            raise
        said = str(error)[found.start() :].partition("\n")[0]
        fix = "look at nvidia-smi and the system's log; the same command resumes from the last checkpoint"
        raise DeviceError(f"{what}: the GPU stopped working ({said})", fix=fix) from error


@contextmanager
def no_exit(what: str) -> Iterator[None]:
    """Turn a `sys.exit` in third-party code inside the block into a UsageError: otherwise the command would end
    silently, possibly with a success status; `what`: whose code it is."""
    try:
        yield
    except SystemExit as error:
        fix = "raise an error there that says what is wrong"
        raise UsageError(f"{what} ends the program, by sys.exit({error.code!r})", fix=fix) from error


def absence(folder: Path) -> str:
    """The phrase for a path that is not a folder: it is a file, or does not exist."""
    return "is a file, not a folder" if folder.is_file() else "does not exist"


def nearest(given: str, known: Iterable[str]) -> str | None:
    """The known name closest to `given`, or None if none is close."""
    matches = difflib.get_close_matches(given.lower(), {name.lower(): name for name in known}, n=1, cutoff=0.5)
    return next((name for name in known if name.lower() == matches[0]), None) if matches else None


def line_in(error: BaseException, path: Path) -> str:
    """ ", line 3" for an error that line 3 of a file, or something that it called, has raised; "" for any other."""
    lines = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f", line {lines[-1]}" if lines else ""


def unknown(what: str, given: str, known: Iterable[str]) -> UsageError:
    """The error for a name that does not exist: what was given, the nearest match, what is allowed."""
    names = sorted(known)
    shown = shortened(given)
    close = nearest(shown, names)
    hint = f" Did you mean '{close}'?" if close else ""
    fix = f"use one of: {', '.join(map(shortened, names))}" if names else "leave it out: there is none to name here"
    return UsageError(f"unknown {what} '{shown}'.{hint}", fix=fix)
