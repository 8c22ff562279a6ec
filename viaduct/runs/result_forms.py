"""The scores of one arm and seed in the result formats of mteb and lm-evaluation-harness, for tasks that they have.

mteb: a `TaskResult` (embeddings-benchmark/mteb at 02c088e, mteb/results/task_result.py) of Tatoeba, whose main score is
an F1 over sentences as classes (mteb/abstasks/text/bitext_mining.py at 0518d45), computed here from the predictions.
lm-eval: a results file (EleutherAI/lm-evaluation-harness at 034ab03, lm_eval/loggers/evaluation_tracker.py), with the
names, splits and versions of lm_eval/tasks in 0.4.13. Only whole published splits are written, and only those that they
evaluate by the same metric: their TyDiQA, and BUCC, XNLI and PAWS-X in mteb, are scored differently.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from viaduct.errors import UsageError
from viaduct.languages import flores_code, language
from viaduct.report.no_result import NoResult
from viaduct.results.record import ResultRow
from viaduct.results.store import Store
from viaduct.results.writing import canonical, write_atomic
from viaduct.runs.collect import RunRecord, collect
from viaduct.runs.submission import one_of, require_new
from viaduct.tasks.catalogue import Catalogue


class _Theirs(NamedTuple):
    """A task as mteb or lm-eval defines it."""

    name: str
    """Its name, with a placeholder for our language code, that of FLORES-200, or ISO 639-3."""
    metrics: dict[str, str]
    version: float = 1.0
    split: str = "test"

    def of(self, code: str) -> str:
        return self.name.format(language=code, flores=flores_code(code), iso3=language(code).iso3)


ACCURACY, ANSWERS = {"accuracy": "acc"}, {"f1": "f1", "exact_match": "exact_match"}
FORMS = {
    "mteb": {"tatoeba": _Theirs("{iso3}-eng", {"accuracy_into_english": "accuracy"})},
    "lm-eval": {
        "xnli": _Theirs("xnli_{language}", ACCURACY, split="dev"),
        "pawsx": _Theirs("paws_{language}", ACCURACY),
        "xcopa": _Theirs("xcopa_{language}", ACCURACY),
        "xquad": _Theirs("xquad_{language}", ANSWERS),
        "mlqa": _Theirs("mlqa_{language}_{language}", ANSWERS, 0.1),
        "belebele": _Theirs("belebele_{flores}", ACCURACY, 0.0),
    },
}
DIFFERS = {
    "mteb": "LASER's files, not mteb's copy of them; vectors are made as the signature says",
    "lm-eval": "an encoder that was fine-tuned on English rows, with a head for the task: no prompt, no shots",
}
"""How our scores differ from those of the other tool; written to the files."""


def write(
    form: str, store: Store, record: RunRecord, directory: Path, arm: str | None, seed: int | None
) -> tuple[Path, tuple[str, ...]]:
    """(the file, below a new `directory`; what was left out and why). Raises UsageError for a run that is no result, an
    arm or seed that is ambiguous or unknown, and if nothing is left to write."""
    about, every, *_ = collect(store, record)
    for note in NoResult.of(about).notes:
        raise UsageError(f"{about.recipe}: {note}", fix="name a run on real data, without --limit")
    require_new(directory)
    arm = one_of("arm", list(dict.fromkeys(row.arm for row in every)), arm)
    own = [row for row in every if row.arm == arm]
    seed = one_of("seed", sorted({row.seed for row in own}), seed)
    seeds_of = {task: {row.seed for row in own if row.task == task} for task in dict.fromkeys(row.task for row in own)}
    rows = [row for row in own if row.seed == seed or len(seeds_of[row.task]) == 1]
    why_not = {(row.task, row.language): _why_not(form, row) for row in rows}
    kept = [row for row in rows if not why_not[row.task, row.language] and row.metric in FORMS[form][row.task].metrics]
    content = _task_result(kept, store, record, why_not) if form == "mteb" else _results(kept)
    left: dict[str, list[str]] = {}
    for (task, code), why in why_not.items():
        left.setdefault(f"{task}: {why}", []).extend([code] if why else [])
    notes = tuple(f"{words} ({' '.join(codes)})" for words, codes in left.items() if codes)
    if not any(not why for why in why_not.values()):
        raise UsageError("\n  ".join([f"nothing of arm {arm}, seed {seed} has the form of {form}", *notes]))
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / ("Tatoeba.json" if form == "mteb" else "results.json")
    told = {"encoder": about.encoder, "run": about.recipe, "arm": arm, "seed": seed, "differs": DIFFERS[form]}
    write_atomic(file, canonical({**content, "viaduct": {**told, "trained on rows that are scored": about.leaks}}))
    return file, notes


def _why_not(form: str, row: ResultRow) -> str:
    """Why a score cannot be written in this form, in words; "" if it can."""
    theirs, catalogue = FORMS[form].get(row.task), Catalogue.builtin()
    if theirs is None or row.task not in catalogue:
        return f"{form} has no task with these rows and this score"
    if row.split != theirs.split:
        return f"{form} evaluates {theirs.split}, and this is {row.split}"
    stands_in = row.substitution and f":= {row.task} {row.split}" not in row.substitution
    if stands_in or not catalogue.task(row.task).is_whole(row.language, row.split, row.n):
        return "not the whole published split"
    return "a threshold or layer was chosen on these rows" if row.chosen_on_scored else ""


def _results(rows: Iterable[ResultRow]) -> dict[str, Any]:
    """The tables of an lm-eval results file, by task."""
    results: dict[str, dict[str, Any]] = {}
    versions, samples = {}, {}
    for row in rows:
        theirs = FORMS["lm-eval"][row.task]
        name, metric = theirs.of(row.language), theirs.metrics[row.metric]
        own = results.setdefault(name, {"alias": name})
        own[f"{metric},none"] = row.value
        own[f"{metric}_stderr,none"] = "N/A" if metric == "f1" else math.sqrt(row.value * (1 - row.value) / (row.n - 1))
        versions[name], samples[name] = theirs.version, {"original": row.n, "effective": row.n}
    return {"results": results, "versions": versions, "n-shot": dict.fromkeys(results, 0), "n-samples": samples}


def _task_result(
    rows: Iterable[ResultRow], store: Store, record: RunRecord, why_not: dict[tuple[str, str], str]
) -> dict[str, Any]:
    """mteb's `TaskResult` of these scores; languages whose predictions are missing are added to `why_not`."""
    paths = {stage.fingerprint: stage.path for stage in record.stages}
    scores, seconds = [], {}
    for row in rows:
        score = paths[row.fingerprint]
        made = paths.get(store.inputs(score).get("predictions", ""), score)
        own = _bitext(store.directory(made) / "predictions" / f"{row.language}.jsonl", row)
        if own is None:
            why_not[row.task, row.language] = "its predictions are not in the store"
            continue
        script = flores_code(row.language).partition("_")[2]
        named = {"hf_subset": FORMS["mteb"][row.task].of(row.language), "signature": row.signature}
        pair = [f"{language(row.language).iso3}-{script}", "eng-Latn"]
        scores.append({**named, "languages": pair, "main_score": own["f1"], **own})
        seconds[made] = store.cost(made)["seconds"]
    return {
        "task_name": "Tatoeba",
        "mteb_version": None,
        "dataset_revision": "LASER data/tatoeba/v1",
        "scores": {"test": scores},
        "evaluation_time": sum(seconds.values()),
        "kg_co2_emissions": None,
    }


def _bitext(path: Path, row: ResultRow) -> dict[str, float] | None:
    """mteb's scores of predictions into English, with each English sentence a class; None if the predictions are
    missing, or are not those of the row."""
    if not path.is_file():
        return None
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    numbers = {
        one["id"].rpartition("-")[2]: str(one["prediction"]).rpartition("-")[2]
        for one in lines
        if one["id"].startswith(f"{row.language}-")
    }
    times = Counter(numbers.values())
    right = [times[given] for number, given in numbers.items() if number == given]
    if not math.isclose(len(right) / row.n, row.value, abs_tol=1e-9):
        return None
    f1, precision = (sum(values) / row.n for values in ((2 / (1 + c) for c in right), (1 / c for c in right)))
    return {"f1": f1, "precision": precision, "recall": row.value, "accuracy": row.value}
