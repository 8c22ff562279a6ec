"""Every command that writes reports a path where nothing can be created: a file, a path below a file, or /proc."""

from __future__ import annotations

from pathlib import Path

import pytest
from programs import viaduct

COMMANDS = (
    "plan small.py --data data --json --store",
    "run small.py --data data --store",
    "report small --to",
    "rows small --rows",
    "export model --engine transformers",
    "miniature",
    "fetch xnli --yes --data",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_place_where_nothing_can_be_made_is_one_message(
    command: str, world: Path, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("viaduct.report.figure.heat_map", lambda shown: None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.py").write_text("from small_world import recipe\n", encoding="utf-8")
    (tmp_path / "model").symlink_to(tiny_encoder)
    if "small " in command:
        assert viaduct("run", "small.py", "--data", str(world), "--device", "cpu", "--threads", "1").status == 0
    for place in ("small.py", "small.py/x", "/proc/x"):
        done = viaduct(*command.split(), place)
        if (command[:4], place) == ("plan", "/proc/x"):  # plan writes nothing
            continue
        _, said, words = done.errors.partition("viaduct: ")
        assert done.status == 2 and said, done.errors
        assert words.count("\n") == 2 and "\n  how to fix: " in words
        assert words.startswith(("the store ", "small.py", "/proc/")) and place.partition("/")[0] in words
