"""What is wrong with the files of a folder, told in one error with every file named."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from viaduct.errors import DataError

MOST = 20
"""Problems that are explained in one message."""


@dataclass
class Problems:
    """The problems found so far; nothing is refused before all files were looked at."""

    messages: list[str] = field(default_factory=list)
    num_files: int = 0

    def add(self, error: object, *, num_files: int = 1) -> None:
        """One more problem, of so many files."""
        self.messages.append(str(error))
        self.num_files += num_files

    def absent(self, paths: Iterable[Path]) -> None:
        """The problem of files that are not there, told once for those of one folder."""
        by_folder: dict[Path, list[str]] = {}
        for path in paths:
            by_folder.setdefault(path.parent, []).append(path.name)
        for folder, names in by_folder.items():
            if len(names) == 1:
                self.add(f"{folder / names[0]}: the file is missing")
            elif folder.is_dir():
                self.add(f"{folder}: {len(names)} files are missing: {' '.join(names)}", num_files=len(names))
            else:
                self.add(f"{folder}: there is no such folder ({len(names)} files are due)", num_files=len(names))

    def refuse(self, notes: Iterable[str] = (), fix: str | None = None) -> NoReturn:
        """Raises DataError with all problems, and with notes that may explain them."""
        shown = [message.replace("\n", "\n  ") for message in self.messages[:MOST]]
        rest = len(self.messages) - len(shown)
        lines = [*shown, *([f"and {rest:,} more"] if rest else []), *(f"note: {note}" for note in notes)]
        listed = "\n".join(f"  {line}" for line in lines)
        raise DataError(f"{self.num_files:,} file{'s' * (self.num_files > 1)} cannot be scored:\n{listed}", fix=fix)
