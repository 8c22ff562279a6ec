"""The recipe behind `viaduct evaluate`: one encoder, no intermediate task, published hyperparameters.

The numbers come from two releases, by the encoder's width; both are given in the tables below. Batches are counted in
tokens here, so "32 rows" of a release becomes 32 times the mean length of the training rows in XLM-R's tokens. Large
encoders are trained at 1e-5 throughout: XLM-R large fails to learn XNLI at 3e-5 with some seeds (transformers issue
10588, fairseq issue 1367), which X-STILTs' 1e-5 avoids.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from viaduct.errors import UsageError, unknown
from viaduct.results.xtreme import FOLDERS, TARGETS
from viaduct.runs.encoder import encoder_identity, fetch_small_files, hub_options, longest_of, require_name
from viaduct.runs.encoder_check import read_config
from viaduct.runs.families import size
from viaduct.runs.revisions import pinned
from viaduct.runs.sentence_encoder import is_sentence_encoder
from viaduct.runs.spec import Recipe, Retrieval, Substitution, Target, Training

QUESTIONS = tuple(folder.card.name for folder in FOLDERS if folder.group == "qa")
LARGE_WIDTH = 1024
"""Encoders at least this wide get the settings for large ones."""

MEAN_TOKENS = {"xnli": 40, "pawsx": 60, "udpos": 32, "panx": 18, "xquad": 200, "mlqa": 200, "tydiqa": 160}
"""Mean tokens of a training row (for question answering, of a window), rounded."""

BASE = {"xnli": 5.0, "pawsx": 5.0, "udpos": 10.0, "panx": 10.0, "xquad": 3.0, "mlqa": 3.0, "tydiqa": 3.0}
"""Epochs; learning rate 2e-5 (questions 3e-5), 32 rows per step, 128 tokens (questions 384, stride 128), checkpoint by
English dev. XTREME, scripts/train_*.sh at 838c13b."""

LARGE = {"xnli": 2.0, "pawsx": 5.0, "udpos": 10.0, "panx": 10.0, "xquad": 2.0, "mlqa": 2.0, "tydiqa": 2.0}
"""Epochs; learning rate 1e-5, 10 % warm-up, 32 rows per step (questions 16), 256 tokens (questions 384, stride 128),
checkpoint by English dev. X-STILTs' release: jiant, guides/projects/xstilts.md."""

LAYER = {12: 8, 24: 14}
"""Encoder layers -> the layer that is pooled for retrieval (XTREME's mBERT script; X-STILTs' release), except for
sentence encoders; for other depths see `Retrieval.layers`. XLM-R large's published Tatoeba number (57.3) belongs to
layer 10 (google-research/xtreme, pull request 104)."""


def evaluation(
    encoder: str,
    *,
    tasks: Sequence[str] = TARGETS,
    revision: str | None = None,
    seeds: tuple[int, ...] = (1,),
    substitutions: Sequence[Substitution] = (),
) -> Recipe:
    """The recipe that evaluates this encoder (a folder, or a Hub name with its revision) on these XTREME tasks.

    Every language with labelled files is evaluated; the report names the others. Raises UsageError for unknown tasks,
    and when the encoder's configuration cannot be read.
    """
    for task in tasks:
        if task not in TARGETS:
            raise unknown("task of XTREME", task, TARGETS)
    revision = pinned(encoder, revision)
    width, layers = shape(encoder, revision)
    depth = None if is_sentence_encoder(encoder, revision) else layers
    name = Path(encoder).resolve().name if Path(encoder).is_dir() else encoder.rpartition("/")[2]
    require_name(name)
    return Recipe(
        name=f"evaluate-{name.lower()}",
        hypothesis=f"None: {encoder} evaluated with the published settings for its size.",
        encoder=encoder,
        revision=revision,
        targets=tuple(target(task, width, depth, longest_of(encoder, revision)) for task in tasks),
        seeds=seeds,
        substitutions=tuple(one for one in substitutions if one.task in _concerned(tasks)),
    )


def _concerned(tasks: Sequence[str]) -> set[str]:
    cards = [folder.card for folder in FOLDERS if folder.card.name in tasks]
    return {*tasks, *(card.trained_on for card in cards if card.trained_on is not None)}


def target(task: str, width: int, layers: int | None, longest: int | None = None) -> Target:
    """One of the nine targets with the published settings for an encoder of this width and depth (None: a sentence
    encoder, for which no layer is named), in every language with labelled files. If the `longest` input is shorter
    than the published lengths, rows and windows have its length, and windows overlap by a third, as those of 384 do.
    """
    if task not in MEAN_TOKENS:
        retrieval = Retrieval(layers=None if layers is None or layers not in LAYER else (LAYER[layers],))
        return Target(
            task=task,
            languages="available",
            retrieval=retrieval,
            training=Training(max_length=min(512, longest or 512), evaluations=0),
        )
    large, question = width >= LARGE_WIDTH, task in QUESTIONS
    rows = 16 if large and question else 32
    length = 384 if question else 256 if large else 128
    training = Training(
        learning_rate=1e-5 if large else 3e-5 if question else 2e-5,
        epochs=(LARGE if large else BASE)[task],
        batch_tokens=rows * MEAN_TOKENS[task],
        max_length=min(length, longest or length),
        stride=min(128, (longest or 384) // 3) if question else 64,
        weight_decay=0.0 if large or not question else 1e-4,
        evaluations=10,
        dev_rows=None,
    )
    return Target(task=task, languages="available", training=training)


def shape(encoder: str, revision: str | None) -> tuple[int, int]:
    """(width, layers) from the encoder's config.json, in a folder or from the Hub. Raises UsageError without one."""
    path = Path(encoder) / "config.json"
    if not Path(encoder).is_dir():
        path = _from_hub(encoder, revision)
    config = read_config(path)
    return size(config, "width") or 0, size(config, "layers") or 0


def _from_hub(encoder: str, revision: str | None) -> Path:
    import huggingface_hub  # slow to load, and folders do not need it
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    encoder_identity(encoder, revision)  # rejects a name without a revision
    options = hub_options(encoder, revision)
    fetch_small_files(encoder, revision)
    try:
        return Path(huggingface_hub.hf_hub_download(encoder, "config.json", **options))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise UsageError(
            f"the configuration of '{encoder}' at {revision} cannot be read: {str(error).splitlines()[0]}",
            fix="check the name, the revision and the network, or name a folder",
        ) from error
