"""A run's scores as result files of mteb and lm-eval: with their names and metrics, omitting what they do not have."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from programs import viaduct
from rich.console import Console
from small_world import add_cards

from viaduct import api
from viaduct.miniature import world
from viaduct.rows import Pair, Sentence, Span
from viaduct.runs.execute import Options
from viaduct.runs.spec import Intermediate, Pretrain, Recipe, Substitution, Target
from viaduct.runs.stage import Context, Spent, Work, kind_of
from viaduct.tasks.catalogue import Catalogue

RECIPE = Recipe(
    measure=None,
    name="forms",
    hypothesis="none",
    encoder=Pretrain(name="mini"),
    intermediates=(Intermediate(name="none"), Intermediate(name="mnli", tasks=("mnli",))),
    targets=tuple(Target(task=task, languages="available") for task in ("tatoeba", "pawsx", "xquad", "xnli", "udpos")),
    substitutions=(Substitution(task="xnli", split="test", use_split="dev", why="no labels"),),
    seeds=(1, 2),
)


def stage(context: Context, _work: Work) -> Spent:
    """Trains nothing; predicts the gold for two rows in three."""
    work = context.work
    if work.kind != "predict":
        (context.directory / "encoder").mkdir()
        (context.directory / "encoder" / "config.json").write_text('{"hidden_size": 8}')
        return Spent()
    for code in work.languages:
        chance, rows = random.Random(code), context.load(work.task, work.split, code).rows
        lines = [{"id": row.id, "prediction": _guess(row, rows, chance.random() < 2 / 3)} for row in rows]
        path = context.directory / "predictions" / f"{code}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return Spent()


def _guess(row: Any, rows: Any, right: bool) -> Any:
    match row:
        case Pair():
            return row.label if right else rows[0].label
        case Span():
            return row.answers[0].text if right else "the tea"
        case Sentence():
            others = [one.id for one in rows if one.side != row.side]
            return row.match[0] if right and row.match else others[len(others) // 2]
    return list(row.tags)


@pytest.fixture(scope="module", name="run")
def _run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The store of a run whose data are as large as their cards say, except in French and for PAWS-X in German."""
    folder = tmp_path_factory.mktemp("forms")
    world.write(folder / "data", scale=0.02)
    with pytest.MonkeyPatch.context() as patch:
        cards = []
        for card in (Catalogue.builtin().task(target.task) for target in RECIPE.targets):
            held = api.check(card.name, data=folder / "data")[0].holdings
            found = {(one.language, one.split): one.rows + 2 * (one.language == "fr") for one in held}
            cards.append(replace(card, expected={**found, **({("de", "test"): 9} if card.name == "pawsx" else {})}))
        add_cards(patch.setattr, cards)
        for kind in ("pretrain", "train", "predict"):
            patch.setattr(kind_of(kind), "run", stage)
        options = Options(device="cpu", threads=1)
        api.run(RECIPE, data=folder / "data", store=folder / "store", options=options, console=Console(quiet=True))
        yield folder / "store"


def told(store: Path, directory: Path, form: str, *more: str) -> Any:
    done = viaduct("submission", "forms", str(directory), "--store", str(store), "--form", form, "--arm", "none", *more)
    assert done.status == 0, done.errors
    return json.loads(Path(done.output.strip().partition("submission: ")[2]).read_text()), done.errors


def rows(store: Path, task: str, metric: str, seed: int = 2) -> dict[str, float]:
    lines = map(json.loads, (store / "runs" / "forms" / "rows.jsonl").read_text().splitlines())
    once = seed if task != "tatoeba" else 1
    return {
        one["language"]: one["value"]
        for one in lines
        if (one["task"], one["metric"], one["arm"], one["seed"]) == (task, metric, "none", once)
    }


def test_lm_eval_has_what_it_evaluates_by_its_own_names(run: Path, tmp_path: Path) -> None:
    found, notes = told(run, tmp_path / "out", "lm-eval", "--seed", "2")
    results, xquad = found["results"], rows(run, "xquad", "f1")
    assert results["xquad_de"]["f1,none"] == xquad["de"] and results["xquad_de"]["f1_stderr,none"] == "N/A"
    assert results["xquad_de"]["exact_match,none"] == rows(run, "xquad", "exact_match")["de"]
    # lm-eval evaluates XNLI on dev, which replaces test here
    assert results["xnli_de"]["acc,none"] == rows(run, "xnli", "accuracy")["de"]
    assert results["paws_en"]["acc,none"] == rows(run, "pawsx", "accuracy")["en"]
    assert found["versions"]["xnli_de"] == 1.0 and found["n-shot"]["paws_en"] == 0
    assert found["n-samples"]["paws_en"]["original"] > 0 and "fine-tuned" in found["viaduct"]["differs"]
    assert not {"paws_de", "paws_fr", "xnli_fr", "udpos_de"} & results.keys()
    assert "pawsx: not the whole published split (de fr)" in notes
    assert "udpos: lm-eval has no task with these rows and this score" in notes


def test_mteb_has_tatoeba_with_the_main_score_of_its_own_task(run: Path, tmp_path: Path) -> None:
    found, notes = told(run, tmp_path / "out", "mteb", "--seed", "2")
    assert found["task_name"] == "Tatoeba" and found["mteb_version"] is None
    by_subset = {one["hf_subset"]: one for one in found["scores"]["test"]}
    german = by_subset["deu-eng"]
    assert german["languages"] == ["deu-Latn", "eng-Latn"] and german["main_score"] == german["f1"]
    assert by_subset["cmn-eng"]["languages"] == ["cmn-Hans", "eng-Latn"]
    assert by_subset["ara-eng"]["languages"] == ["ara-Arab", "eng-Latn"]
    assert german["accuracy"] == german["recall"] == rows(run, "tatoeba", "accuracy_into_english")["de"]
    lines = (run / "mini/none/tatoeba/predict/predictions/de.jsonl").read_text().splitlines()
    given = {one["id"]: one["prediction"] for one in map(json.loads, lines) if one["id"].startswith("de-")}
    gold = [f"en-{number}" for number in range(len(given))]
    chosen = [given[f"de-{number}"] for number in range(len(given))]
    assert (german["f1"], german["precision"]) == pytest.approx(brute_force(gold, chosen))
    sklearn = pytest.importorskip("sklearn.metrics", reason="only its own function is compared with")
    assert german["f1"] == pytest.approx(sklearn.f1_score(gold, chosen, average="weighted", zero_division=0))
    assert "fra-eng" not in by_subset and "tatoeba: not the whole published split (fr)" in notes


def brute_force(gold: list[str], given: list[str]) -> tuple[float, float]:
    """Mean F1 and mean precision, with each sentence as a class."""
    f1, precision, times = [], [], Counter(given)
    for one, chosen in zip(gold, given, strict=True):
        own = (one == chosen) / times[one] if times[one] else 0.0
        f1.append(2 * own * (one == chosen) / (own + (one == chosen)) if own else 0.0)
        precision.append(own)
    return sum(f1) / len(f1), sum(precision) / len(precision)


def test_what_does_not_apply_and_what_cannot_be_made_is_refused(run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    data = ("--data", str(run.parent / "data"))
    for options, words in (
        (data, "file cannot be written or read: File exists"),
        (("--form", "mteb"), "file/x cannot be written or read: Not a directory"),
        (("--form", "mteb", *data), "--labels and --data are for the form of XTREME, and mteb does not use them"),
        (("--form", "lm-eval", "--labels", "gold"), "--labels and --data are for the form of XTREME"),
    ):
        place = ("--store", str(run), "--arm", "none", "--seed", "2")
        done = viaduct("submission", "forms", str(tmp_path / "file" / "x"), *place, *options)
        assert done.status == 2 and words in done.errors and "\n  how to fix: " in done.errors


def test_what_is_no_result_or_not_there_is_refused(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: str) -> str:
        done = viaduct("submission", "forms", str(tmp_path / "out"), "--store", str(run), *arguments)
        assert done.status == 2 and not (tmp_path / "out").exists()
        return done.errors

    assert "this run has several arms: none, mnli" in refused("--form", "mteb")
    assert "unknown seed '3'" in refused("--form", "lm-eval", "--arm", "none", "--seed", "3")
    assert "unknown form 'mtebb'. Did you mean 'mteb'?\n  how to fix: use one of" in refused("--form", "mtebb")
    (run / "mini/none/tatoeba/predict/predictions").rename(run / "gone")
    told_so = refused("--form", "mteb", "--arm", "none", "--seed", "2")
    (run / "gone").rename(run / "mini/none/tatoeba/predict/predictions")
    assert "nothing of arm none, seed 2 has the form of mteb" in told_so
    assert "tatoeba: its predictions are not in the store (" in told_so
