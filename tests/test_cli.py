from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from programs import viaduct
from typer.testing import CliRunner

from viaduct import cli
from viaduct.runs.stage import Context, Spent, Work, kind_of

HEAVY = ("torch", "transformers", "pandas", "scipy", "matplotlib", "pyarrow")
SEEN = f"""
import json, sys
from viaduct.cli import main
for arguments in json.load(sys.stdin):
    sys.argv[1:] = arguments
    try:
        main()
    except SystemExit as stop:
        assert not stop.code, arguments
    print("LOADED", *(name for name in {HEAVY} if name in sys.modules), file=sys.stderr)
"""
"""Runs commands in one process and prints after each which of the heavy libraries are loaded by then."""


def test_a_mistake_is_one_message_and_status_2() -> None:
    command = [sys.executable, "-m", "viaduct", "plan", "no-such-file.yaml"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("viaduct: there is no recipe file no-such-file.yaml")
    assert "Traceback" not in done.stderr and done.stdout == ""


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("plan demo --data FILE", "the data folder FILE is a file, not a folder\n  how to fix: name it with --data"),
        ("profile FILE", "the folder FILE is a file, not a folder\n  how to fix: name a `train` folder"),
        ("compare one two --arms mnli --store st", "--arms mnli --store: not two arms\n  how to fix: --arms mnli none"),
        ("run demo --keep need", "unknown --keep 'need'. Did you mean 'needed'?\n  how to fix: use one of: all"),
        ("clean run --keep all", "unknown --keep 'all'.\n  how to fix: use one of: needed, scores"),
        ("run demo --device cdua", "unknown device 'cdua'. Did you mean 'cuda'?\n  how to fix: use one of"),
    ],
)
def test_what_cannot_be_meant_is_said_with_a_fix(command: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    done = viaduct(*command.replace("FILE", str(file)).split())
    assert done.status == 2 and done.errors.startswith(f"viaduct: {words.replace('FILE', str(file))}"), done.errors


ELSEWHERE = """
import sys, types

sys.modules.update(dict.fromkeys(("fcntl", "resource")))  # as on Windows: importing them fails
from viaduct import cli, system
system.sys = types.SimpleNamespace(platform="{}")
sys.argv[1:] = ["--help"]
cli.main()
"""


@pytest.mark.parametrize(("platform", "name"), [("win32", "Windows"), ("darwin", "macOS")])
def test_other_systems_are_refused_in_one_message(platform: str, name: str) -> None:
    command = [sys.executable, "-c", ELSEWHERE.format(platform)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and done.stdout == "", done.stderr
    assert done.stderr.startswith(f"viaduct: Viaduct runs on Linux, and this is {name}\n  how to fix: ")


@pytest.mark.parametrize("arguments", [("plan", "--bogus"), ("nonsense",), ("run",), ("run", "x.py", "--threads", "0")])
def test_wrong_usage_has_status_2(arguments: tuple[str, ...]) -> None:
    assert CliRunner().invoke(cli.app, list(arguments)).exit_code == 2


INTERRUPTED = """
import os, signal, time
from viaduct import api, cli

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it

def interrupt(*_, **__):
    os.kill(os.getpid(), signal.{})
    time.sleep(10)

api.run = interrupt
cli.main()
"""


@pytest.mark.parametrize(("sent", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_an_interruption_has_its_status_and_says_how_to_go_on(sent: str, status: int, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("{name: a, hypothesis: b, encoder: {name: c}, targets: [{task: xnli}]}", encoding="utf-8")
    # a separate process: real signals should not go to one that has loaded every library
    command = [sys.executable, "-c", INTERRUPTED.format(sent), "run", str(recipe)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == status, done.stderr
    assert "run the same command again" in done.stderr and "Traceback" not in done.stderr


def test_tasks_lists_cards_and_shows_one() -> None:
    every = CliRunner().invoke(cli.app, ["tasks"])
    assert every.exit_code == 0 and "xnli" in every.output
    one = CliRunner().invoke(cli.app, ["tasks", "xnli"])
    assert "licence" in one.output and "ar bg de" in one.output
    wrong = viaduct("tasks", "xnly")
    assert wrong.status == 2 and "Did you mean 'xnli'" in wrong.errors


def loaded_by(*commands: tuple[str, ...]) -> list[set[str]]:
    """The heavy libraries loaded after each of these commands, run one after the other in a new process."""
    command = [sys.executable, "-c", SEEN]
    done = subprocess.run(command, input=json.dumps(commands), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = [set(line.split()[1:]) for line in done.stderr.splitlines() if line.startswith("LOADED")]
    assert len(found) == len(commands)
    return found


def predict_nothing(context: Context, _work: Work) -> Spent:
    for folder in ("encoder", "predictions"):
        (context.directory / folder).mkdir()
    for language in getattr(context.work, "languages", ()):
        (context.directory / "predictions" / f"{language}.jsonl").write_text("", encoding="utf-8")
    return Spent()


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, ...]:
    """(recipe, data, store) after a run on real cards with a stage function that predicts nothing."""
    recipe, data, store = tmp_path / "recipe.yaml", tmp_path / "data", tmp_path / "store"
    (data / "text").mkdir(parents=True)
    (data / "text" / "en.txt.gz").write_text("The tea has gone cold.\n", encoding="utf-8")
    (data / "tatoeba" / "v1").mkdir(parents=True)
    for code, text in (("deu", "Der Tee ist kalt.\nGuten Tag.\n"), ("eng", "The tea is cold.\nHello.\n")):
        (data / "tatoeba" / "v1" / f"tatoeba.deu-eng.{code}").write_text(text, encoding="utf-8")
    recipe.write_text(
        "{name: tiny, hypothesis: none, encoder: {name: mini}, measure: null,"
        " targets: [{task: tatoeba, languages: [de]}]}",
        encoding="utf-8",
    )
    for kind in ("pretrain", "train", "predict"):
        monkeypatch.setattr(kind_of(kind), "run", predict_nothing)
    options = ["--data", str(data), "--store", str(store), "--device", "cpu", "--threads", "1"]
    done = CliRunner().invoke(cli.app, ["run", str(recipe), *options])
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1] == f"report: {store / 'runs' / 'tiny' / 'report.html'}"
    return recipe, data, store


def test_nothing_but_running_loads_torch(ran: tuple[Path, ...]) -> None:
    recipe, data, store = map(str, ran)
    mine = ran[1].parent / "mine" / "tatoeba"
    mine.mkdir(parents=True)
    (mine / "de.jsonl").write_text('{"id": "en-0", "language": "de", "prediction": "de-0"}', encoding="utf-8")
    of_help, of_score, *of_others = loaded_by(
        ("--help",),
        ("score", str(mine.parent), "--data", data, "--partial"),
        ("tasks",),
        ("plan", recipe, "--data", data, "--store", store),
        ("status", "tiny", "--store", store),
        ("report", "tiny", "--store", store),
    )
    assert of_help == of_score == set()
    assert not set().union(*of_others) & {"torch", "transformers"}


def test_a_submission_that_would_lack_predictions_is_not_written(ran: tuple[Path, ...], tmp_path: Path) -> None:
    _, data, store = map(str, ran)
    made = viaduct("submission", "tiny", str(tmp_path / "out"), "--data", data, "--store", store)
    assert made.status == 2 and "tatoeba de: row 'en-1' has no prediction" in made.errors
    assert not (tmp_path / "out").exists()


def test_a_submission_folder_is_scored_without_torch(tmp_path: Path) -> None:
    for kind, text in (("out", "0\n2\n1\n"), ("gold", "0\n2\n2\n")):
        (tmp_path / kind / "tatoeba").mkdir(parents=True)
        (tmp_path / kind / "tatoeba" / "test-de.tsv").write_text(text)
    out, gold, official = str(tmp_path / "out"), str(tmp_path / "gold"), tmp_path / "official.json"
    (loaded,) = loaded_by(("score", out, "--gold", gold, "--partial"))
    assert not loaded & {"torch", "transformers"}
    incomplete = viaduct("score", out, "--gold", gold)
    assert incomplete.status == 2 and "70 files cannot be scored" in incomplete.errors
    done = CliRunner().invoke(cli.app, ["score", out, "--gold", gold, "--partial", "--evaluate-json", str(official)])
    assert done.exit_code == 0 and "66.67" in done.output and "partial: without" in done.output
    assert json.loads(official.read_text()) == {"tatoeba": {"accuracy": {"de": pytest.approx(200 / 3)}}}


def test_plan_and_status_say_what_is_done_and_what_was_found(ran: tuple[Path, ...]) -> None:
    recipe, data, store = map(str, ran)
    options = ["--data", data, "--store", store]
    done = CliRunner().invoke(cli.app, ["plan", recipe, *options]).output
    assert "3 stages (0 saved by sharing), 3 done, 0 to do" in done
    assert "note: tatoeba test: rows found (published): de 4 (2,000)" in done
    longer = CliRunner().invoke(cli.app, ["plan", recipe, *options, "--set", "encoder.name=other"]).output
    assert "pretrain other in en: to do" in longer and "0 done, 3 to do" in longer
    assert "3/3 done" in CliRunner().invoke(cli.app, ["status", "tiny", "--store", store]).output
    assert "3/3 done" in CliRunner().invoke(cli.app, ["status", str(Path(store) / "runs" / "tiny")]).output
    wrong = viaduct("status", "tinny", "--store", store)
    assert wrong.status == 2 and "use one of: tiny" in wrong.errors


def test_two_arms_to_compare_are_checked(ran: tuple[Path, ...]) -> None:
    store = str(ran[2])
    wrong = viaduct("report", "tiny", "--store", store, "--compare", "none")
    assert wrong.status == 2 and "--compare mnli+replay:mnli" in wrong.errors
    unknown = viaduct("report", "tiny", "--store", store, "--compare", "none:nun")
    assert unknown.status == 2 and "Did you mean 'none'" in unknown.errors


def test_miniature_makes_a_world_once(tmp_path: Path) -> None:
    folder = tmp_path / "world"
    first = CliRunner().invoke(cli.app, ["miniature", str(folder), "--scale", "0.01"])
    assert first.exit_code == 0, first.output
    assert first.output.splitlines()[-1].startswith(f"miniature world: {folder} (")
    assert CliRunner().invoke(cli.app, ["miniature", str(folder), "--scale", "0.01"]).exit_code == 0
    other = viaduct("miniature", str(folder), "--scale", "0.02")
    assert other.status == 2 and "holds another miniature world" in other.errors


@pytest.mark.parametrize("command", [[], ["plan"], ["score"]])
def test_help_has_a_short_form(command: list[str]) -> None:
    short, long = (CliRunner().invoke(cli.app, [*command, option]) for option in ("-h", "--help"))
    assert short.exit_code == 0 and short.output == long.output and "Usage" in short.output


def test_the_version_is_that_of_the_package() -> None:
    shown = CliRunner().invoke(cli.app, ["--version"])
    root = Path(__file__).parents[1]
    version = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert (shown.exit_code, shown.output) == (0, f"viaduct {version}\n")
    assert f"\nversion: {version}\n" in (root / "CITATION.cff").read_text(encoding="utf-8")
