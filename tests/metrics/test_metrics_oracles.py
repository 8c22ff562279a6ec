"""Our scores against the official scorers' own output, number by number."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import xtreme_files

from viaduct.metrics.classification import accuracy
from viaduct.metrics.qa import (
    MLQA,
    SQUAD,
    mlqa_scores,
    normalise_mlqa,
    normalise_squad,
    squad2_scores,
    squad_scores,
)
from viaduct.metrics.retrieval import bucc_f1, bucc_threshold, tatoeba_accuracy
from viaduct.metrics.score import scored
from viaduct.metrics.summary import counted_metrics
from viaduct.metrics.tagging import entities, panx_scores, udpos_scores
from viaduct.report.table import build_tables
from viaduct.results.outcomes import packed, read_outcomes, write_outcomes
from viaduct.results.record import About, ResultRow
from viaduct.rows import Sentence, Tagged
from viaduct.tasks.catalogue import Catalogue

METRICS = {
    "xnli": accuracy,
    "pawsx": accuracy,
    "udpos": udpos_scores,
    "panx": panx_scores,
    "xquad": squad_scores,
    "mlqa": mlqa_scores,
    "tydiqa": squad_scores,
    "bucc2018": bucc_f1,
    "tatoeba": tatoeba_accuracy,
}


@pytest.fixture(scope="module")
def submission(shared_oracles: Path) -> list[ResultRow]:
    """Our scores of the whole official example submission, as result rows."""
    folder = shared_oracles / "xtreme"
    rows = []
    for task, metric in METRICS.items():
        for path in sorted((folder / "labels" / task).iterdir()):
            language = path.stem.removeprefix("test-")
            for place, score in enumerate(metric(*xtreme_files.read(folder, task, language))):
                rows.append(
                    ResultRow(
                        recipe="oracle",
                        encoder="official",
                        arm="none",
                        task=task,
                        task_version=1,
                        language=language,
                        split="test",
                        seed=1,
                        metric=score.metric,
                        headline=place == 0,
                        value=score.value,
                        n=score.n,
                        n_missing=score.n_missing,
                        signature=score.signature,
                        selection="untrained",
                        substitution=None,
                        fingerprint="",
                    )
                )
    return rows


@pytest.mark.parametrize("task", METRICS)
def test_every_language_scores_as_in_xtreme_evaluate(
    task: str, submission: list[ResultRow], shared_oracles: Path
) -> None:
    official = json.loads((shared_oracles / "xtreme" / "expected.json").read_text())[task]
    expected = {
        (metric, language): value
        for metric, values in official.items()
        if not metric.startswith("avg_")
        for language, value in values.items()
    }
    ours = {(row.metric, row.language): 100 * row.value for row in submission if row.task == task}
    assert {key: value for key, value in ours.items() if key[0] != "token_accuracy"} == pytest.approx(
        expected, abs=1e-9, rel=0
    )


@pytest.mark.parametrize("task", METRICS)
def test_outcomes_by_example_make_the_official_scores(task: str, shared_oracles: Path, tmp_path: Path) -> None:
    folder = shared_oracles / "xtreme"
    card = Catalogue.builtin().task(task.removesuffix("2018"))
    found = {}
    for path in sorted((folder / "labels" / task).iterdir()):
        language = path.stem.removeprefix("test-")
        rows, predictions = xtreme_files.read(folder, task, language)
        found[language] = rows, scored(METRICS[task], rows, predictions)
    write_outcomes(tmp_path, packed(card, found))
    outcomes = read_outcomes(tmp_path)
    assert outcomes is not None and list(outcomes) == list(found)
    for language, one in outcomes.items():
        values = {score.metric: score.value for score in found[language][1].scores}
        counted = counted_metrics(card.metrics)
        expected = sum(values[name] for name in counted) / len(counted)
        assert one.scores().mean() == pytest.approx(expected, abs=1e-12 if "correct" in one.values else 1e-6, rel=0)


def test_benchmark_average_is_that_of_xtreme_evaluate(submission: list[ResultRow], shared_oracles: Path) -> None:
    official = json.loads((shared_oracles / "xtreme" / "expected.json").read_text())
    about = About(
        recipe="oracle", hypothesis="", command="", encoder="official", encoder_details={}, arms=("none",), tasks=(),
        seeds=(1,), miniature=False, substitutions=(), data=(), settings={}, versions={}, created="",
    )  # fmt: skip
    for task in (*METRICS, "all_task"):
        rows = [row for row in submission if task in (row.task, "all_task")]
        tables = build_tables(about, rows, languages={})
        (average,) = tables.averages
        assert tables.complete and not average.missing
        expected = official[task]["avg_metric"] if task in METRICS else official[task]
        assert 100 * average.score.mean == pytest.approx(expected, abs=1e-9, rel=0), task


def test_single_questions_score_as_in_the_official_scripts(shared_oracles: Path) -> None:
    probes = [json.loads(line) for line in (shared_oracles / "xtreme" / "probes" / "qa.jsonl").open(encoding="utf-8")]
    for probe in probes:
        prediction, answers, language = probe["prediction"], probe["answers"], probe["language"]
        if probe["scorer"] == "mlqa":
            normalised = [normalise_mlqa(text, language) for text in (prediction, *answers)]
            definition = MLQA
        else:
            normalised = [normalise_squad(text) for text in (prediction, *answers)]
            definition = SQUAD
        assert normalised == [probe["normalised_prediction"], *probe["normalised_answers"]], probe
        values = definition.score(prediction, answers, language)
        expected = (probe["f1"], probe["exact_match"])
        assert [100 * value for value in values] == pytest.approx(expected, abs=1e-9, rel=0), probe
    assert Counter(probe["scorer"] for probe in probes).keys() == {"mlqa", "xquad"}


def test_tag_sequences_have_the_entities_of_seqeval(shared_oracles: Path) -> None:
    with (shared_oracles / "xtreme" / "probes" / "tagging.jsonl").open(encoding="utf-8") as file:
        probes = [json.loads(line) for line in file]
    scored = 0
    for probe in probes:
        official, gold, predicted = probe["seqeval-0.0.12"], probe["gold"], probe["predicted"]
        if "gold_entities" in official:
            assert [list(entity) for entity in entities(gold)] == official["gold_entities"], probe["name"]
            assert [list(entity) for entity in entities(predicted)] == official["predicted_entities"], probe["name"]
        same_lengths = [len(sentence) for sentence in gold] == [len(sentence) for sentence in predicted]
        if "f1" not in official or not same_lengths or not any(gold):
            continue
        rows = [Tagged(str(place), "en", tuple(tags), tuple(tags)) for place, tags in enumerate(gold)]
        given = xtreme_files.keyed({str(place): tags for place, tags in enumerate(predicted)}, "en")
        values = {score.metric: 100 * score.value for score in panx_scores(rows, given)}
        expected = {name: official[name] for name in ("f1", "precision", "recall")}
        assert {name: values[name] for name in expected} == pytest.approx(expected, abs=1e-9, rel=0), probe["name"]
        scored += 1
    assert scored >= 40


@pytest.mark.parametrize("version", ["1.1", "2.0"])
def test_squad_leaderboard_predictions_score_as_published(
    version: str, shared_oracles: Path, shared_data: Path
) -> None:
    expected = json.loads((shared_oracles / "squad" / "expected.json").read_text())
    cases = expected["squad_v1.1"] if version == "1.1" else expected["squad_v2"]
    metric = squad_scores if version == "1.1" else squad2_scores
    for case in cases.values():
        rows = xtreme_files.questions(shared_data / case["data"], "en")
        known = {row.id for row in rows}  # the released files also answer a few questions that were withdrawn later
        answers = json.loads((shared_data / case["predictions"]).read_text(encoding="utf-8")).items()
        given = xtreme_files.keyed({row_id: text for row_id, text in answers if row_id in known}, "en")
        f1, exact = metric(rows, given)
        official = case if version == "1.1" else case["plain"]
        assert 100 * f1.value == pytest.approx(official["f1"], abs=1e-9, rel=0)
        assert 100 * exact.value == pytest.approx(official["exact_match" if version == "1.1" else "exact"], abs=1e-9)
        assert f1.n_missing == exact.n_missing == official.get("unanswered", 0)


def test_tatoeba_accuracy_is_official(shared_oracles: Path) -> None:
    folder = shared_oracles / "retrieval" / "tatoeba"
    gold = xtreme_files.lines(folder / "gold.txt")
    for name, official in json.loads((folder / "expected.json").read_text()).items():
        queries = [Sentence(f"en{place}", "de", "", "target", (index,)) for place, index in enumerate(gold)]
        sources = [Sentence(index, "de", "", "source", ()) for index in gold]
        predicted = xtreme_files.lines(folder / f"expected.{name}.txt")
        given = xtreme_files.keyed({f"en{place}": index for place, index in enumerate(predicted)}, "de")
        (score,) = tatoeba_accuracy([*queries, *sources], given)
        assert 100 * score.value == pytest.approx(official["accuracy"], abs=1e-9, rel=0), name


def _pairs(path: Path) -> set[tuple[str, str]]:
    return {(line.split("\t")[0], line.split("\t")[1]) for line in xtreme_files.lines(path)}


def _candidates(folder: Path, split: str, name: str) -> list[tuple[float, str, str]]:
    """The official candidates with ids in place of texts; a text on two lines has no id, as in the official code."""
    ids: dict[str, dict[str, str]] = {}
    for side in ("zh", "en"):
        texts = [line.strip() for line in (folder / split / f"{side}.txt").read_text(encoding="utf-8").splitlines()]
        times = Counter(texts)
        names = (folder / split / f"{side}.id").read_text().split()
        ids[side] = {text: name for text, name in zip(texts, names, strict=True) if times[text] == 1}
    found = []
    for line in (folder / "expected" / f"candidates.{split}.{name}.tsv").read_text(encoding="utf-8").splitlines():
        score, source, target = (part.strip() for part in line.split("\t"))
        if source in ids["zh"] and target in ids["en"]:
            found.append((float(score), ids["zh"][source], ids["en"][target]))
    return found


def test_bucc_thresholds_and_scores_are_official(shared_oracles: Path) -> None:
    folder = shared_oracles / "retrieval" / "bucc"
    mined = json.loads((folder / "expected" / "expected.json").read_text())["mined"]
    compared = 0
    for name, official in mined.items():
        if "threshold" not in official:
            continue
        gold = {split: _pairs(folder / split / "gold.tsv") for split in ("dev", "test")}
        threshold, dev_f1 = bucc_threshold(_candidates(folder, "dev", name), gold["dev"])
        assert threshold == pytest.approx(official["threshold"], abs=1e-9, rel=0)
        assert 100 * dev_f1 == pytest.approx(official["dev"]["F1"], abs=1e-9, rel=0)
        candidates = _candidates(folder, "test", name)
        extracted = {(source, target) for score, source, target in candidates if score >= threshold}
        assert extracted == _pairs(folder / "expected" / f"extracted.test.{name}.tsv")
        found: dict[str, object] = {}
        for source, target in sorted(extracted):
            found[source] = [*found.get(source, []), target]  # type: ignore[misc]
        names = {source for source, _ in gold["test"] | extracted}
        rows = [
            Sentence(row_id, "zh", "", "source", tuple(t for s, t in sorted(gold["test"]) if s == row_id))
            for row_id in sorted(names)
        ]
        values = {score.metric: 100 * score.value for score in bucc_f1(rows, xtreme_files.keyed(found, "zh"))}
        assert values == pytest.approx(official["test_by_evaluate.py"], abs=1e-9, rel=0)
        compared += 1
    assert compared == 6


def test_threshold_search_is_official_where_that_is_right(shared_oracles: Path) -> None:
    cases = json.loads((shared_oracles / "retrieval" / "bucc" / "edge" / "optimise.json").read_text())
    for case in cases:
        candidates = [(score, source, target) for source, target, score in case["candidates"]]
        gold = [tuple(pair.split("\t")) for pair in case["gold"]]
        threshold, f1 = bucc_threshold(candidates, gold)
        if case.get("exception") == "IndexError":
            assert threshold == candidates[-1][0]
            assert f1 == 1.0
            continue
        if case["name"] != "equal_scores_other_order":  # there the official search cuts between equal scores
            assert threshold == case["threshold"], case["name"]
        extracted = [f"{source}\t{target}" for score, source, target in candidates if score >= threshold]
        assert extracted == case["extracted"], case["name"]
