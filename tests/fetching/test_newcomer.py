"""A new user's path: from an empty folder to the report of an evaluation, on a fetched encoder and fetched data.

Every command is a separate process, which finds the server through the libraries' own variables and the mirror option.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import publications
import pytest
from local_server import COMMIT, LocalServer, Repository

from viaduct.tasks import panx
from viaduct.tasks.card import XTREME_HUB

TASKS = ("mnli", "tatoeba", "panx")
SHORT = (
    *("--set", "targets.*.training={learning_rate: 0.001, max_steps: 2, batch_tokens: 500, max_length: 64}"),
    *("--set", "measure=null"),
)

Viaduct = Callable[..., tuple[int, str]]


@pytest.fixture
def internet(server: LocalServer, world: Path, tiny_encoder: Path) -> Iterator[tuple[LocalServer, dict[str, object]]]:
    """Publishers of two tasks, the Hub with a third task and an encoder, and what is known about their files."""
    server.files, known = publications.publish(world, TASKS)
    server.datasets[XTREME_HUB.repository] = Repository(
        publications.hub_files(panx.CARD, world), str(XTREME_HUB.revision)
    )
    files = {path.name: path.read_bytes() for path in tiny_encoder.iterdir()}
    server.models["somebody/tiny"] = Repository(files, licence="apache-2.0")
    yield server, known


@pytest.fixture
def viaduct(internet: tuple[LocalServer, dict[str, object]], tmp_path: Path) -> Viaduct:
    """Runs `viaduct ...` in an empty folder; returns (exit status, output)."""
    server, known = internet
    (tmp_path / "known.json").write_text(json.dumps(known))
    own = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "VIADUCT_"))}
    environment = {
        **own,
        "HF_ENDPOINT": server.address,
        "HF_HOME": str(tmp_path / "hf"),
        "VIADUCT_MIRROR": server.address + publications.MIRROR,
        "VIADUCT_CACHE": str(tmp_path / "cache"),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }

    def run(*words: str, offline: bool = False) -> tuple[int, str]:
        program = [sys.executable, publications.__file__, str(tmp_path / "known.json"), *words]
        done = subprocess.run(
            program,
            cwd=tmp_path,
            env=environment | ({"HF_HUB_OFFLINE": "1"} if offline else {}),
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return done.returncode, " ".join((done.stdout + done.stderr).split())[-6_000:]

    return run


def test_from_an_empty_folder_to_a_report(
    viaduct: Viaduct, internet: tuple[LocalServer, dict[str, object]], tmp_path: Path
) -> None:
    server, _ = internet
    evaluate = ("evaluate", "somebody/tiny", "--tasks", "panx,tatoeba", "--data", "data", *SHORT)
    status, said = viaduct(*evaluate, "--fetch", "--yes")
    assert status == 0, said
    assert f"somebody/tiny is commit {COMMIT} now" in said and "somebody/tiny: licence: apache-2.0" in said
    assert "tatoeba test: 156 rows in 13 languages, 13 fetched now; the published count holds in 13" in said
    run = tmp_path / "store/runs/evaluate-tiny"
    assert json.loads((run / "run.json").read_text())["recipe"]["revision"] == COMMIT
    page = (run / "report.html").read_text()
    assert "panx" in page and "tatoeba" in page and COMMIT in page

    server.asked.clear()
    status, said = viaduct(*evaluate, "--revision", COMMIT, "--plan", offline=True)
    assert status == 0 and server.asked == [], said


def test_a_recipe_is_fetched_whole_and_then_needs_no_network(
    viaduct: Viaduct, internet: tuple[LocalServer, dict[str, object]], tmp_path: Path
) -> None:
    server, _ = internet
    (tmp_path / "mine.yaml").write_text(
        f"""
name: mine
hypothesis: none
encoder: somebody/tiny
revision: {COMMIT}
intermediates: [{{name: none}}, {{name: mnli, tasks: [mnli]}}]
targets: [{{task: panx, languages: [en, de]}}]
"""
    )
    status, said = viaduct("fetch", "mine.yaml", "--yes")
    assert status == 0, said
    assert f"somebody/tiny at {COMMIT}: " in said and "panx test: " in said and "mnli train: " in said
    server.asked.clear()
    status, said = viaduct("plan", "mine.yaml", offline=True)
    assert status == 0 and server.asked == [], said
    status, said = viaduct("fetch", "mine.yaml", "--yes", offline=True)
    assert status == 0 and server.asked == [] and "there before" in said, said
