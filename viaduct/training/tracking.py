"""Trackers (TensorBoard, W&B, trackio, MLflow, ...) to which a run logs training curves, through Accelerate's classes.

Accelerate and the trackers' packages are imported when a training has its first values to log.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from viaduct.errors import UsageError, shortened, unknown
from viaduct.paths import run_directory
from viaduct.runs.stage import Stage, Track, kind_of

_LOG = logging.getLogger(__name__)

TRACKERS = {
    "aim": "",
    "clearml": "task_name",
    "comet_ml": "",
    "dvclive": "dir",
    "mlflow": "run_name",
    "swanlab": "experiment_name",
    "tensorboard": "",
    "trackio": "name",
    "wandb": "name",
}
"""Trackers that Accelerate knows, by package name -> the keyword for a training's name, besides the project's name; ""
if the training's is the only name."""
IN_EXTRA = "tensorboard"


def chosen(given: Sequence[str]) -> tuple[str, ...]:
    """The trackers of `--track`, each once; one value may list several, separated by commas. Raises UsageError for one
    that Accelerate does not know, and for one whose package is not installed."""
    names = tuple(dict.fromkeys(name.strip() for text in given for name in text.split(",")))
    for name in names:
        if name not in TRACKERS:
            raise unknown("tracker", name, TRACKERS)
        found = importlib.util.find_spec(name)
        if found is None or found.origin is None:  # a folder of that name, such as W&B's own, is not a package
            package = "'viaduct-nlp[track]'" if name == IN_EXTRA else name
            raise UsageError(f"--track {name}: its package is not installed", fix=f"pip install {package}")
    return names


class Trackers:
    """The trackers of one process of a run. One that fails is dropped, with a single warning: it never ends a
    training."""

    def __init__(self, given: Sequence[str], store: Path, run: str) -> None:
        """`run`: the run's name, which the trackers' project gets. Raises what `chosen` raises."""
        self.names, self.project = list(chosen(given)), run
        self.folder = run_directory(store, run) / "tracking"

    @contextlib.contextmanager
    def stage(self, stage: Stage, seed: int, scratch: Path) -> Iterator[Track]:
        """The function that a training logs values with. Each tracker starts a run at the first of them, named after
        the stage's label, seed and path. The last step logged to each is recorded in `scratch`: a training that resumes
        from a checkpoint logs only later steps."""
        label = shortened(kind_of(stage.work.kind).label(stage.work), 100)
        name = f"{label}, seed {seed} ({stage.path})".replace("/", " ")  # it becomes the name of a folder
        begun: dict[str, Any] = {}

        def track(step: int, values: Mapping[str, float]) -> None:
            for tracker in tuple(self.names):
                with self._unless_it_fails(tracker):
                    last = scratch / f"told-{tracker}"
                    if step <= int((last.is_file() and last.read_text()) or 0):
                        continue
                    if tracker not in begun:
                        begun[tracker] = self._begin(tracker, name)
                    begun[tracker].log(dict(values), step=step)
                    last.write_text(str(step))

        try:
            yield track
        finally:
            for tracker, its in begun.items():
                with self._unless_it_fails(tracker):
                    its.finish()

    def _begin(self, tracker: str, name: str) -> Any:
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        kind, keyword = LOGGER_TYPE_TO_CLASS[tracker], TRACKERS[tracker]
        where = (str(self.folder),) if kind.requires_logging_directory else ()
        named = {keyword: str(self.folder / name) if keyword == "dir" else name} if keyword else {}
        found = kind(self.project if keyword else name, *where, **named)
        found.start()
        return found

    @contextlib.contextmanager
    def _unless_it_fails(self, tracker: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if tracker in self.names:
                self.names.remove(tracker)
                _LOG.warning("--track %s failed, and the run continues without it: %s", tracker, error)
