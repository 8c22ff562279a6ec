"""Peak memory of stages against the forecast of `viaduct plan`: training, prediction, and training with MLM replay.

`python benchmarks/memory.py` prints a table and, as its last line, one JSON object with forecast over measured. Each
measurement is a separate process that runs the same code as a run's stages for a few steps on the CPU. `--quick` leaves
out the largest encoder.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import scaling
from fresh_process import answer
from inference_models import LABELS, UNKNOWN, word
from training_rows import Shape

SHAPES = {
    "2x64": Shape(2, 64, 2, 256, vocabulary=8_000),
    "6x384": Shape(6, 384, 6, 1536),
    "12x384": Shape(12, 384, 12, 1536),
    "12x768": Shape(12, 768, 12, 3072),
}
CASES = (
    ("2x64", "train", 2_048, 64),
    ("2x64", "predict", 4_096, 64),
    ("2x64", "joint", 4_096, 128),
    ("6x384", "train", 8_192, 128),
    ("6x384", "predict", 4_096, 128),
    ("6x384", "joint", 1_024, 128),
    ("12x384", "train", 2_048, 256),
    ("12x384", "predict", 4_096, 256),
    ("12x768", "train", 4_096, 128),
    ("12x768", "predict", 4_096, 128),
    ("12x768", "joint", 1_024, 64),
)
"""(encoder, stage, tokens per batch, maximum tokens per row)."""
CARD, ROWS, FEW_ROWS = "scaling-pairs", 1_500, 200
"""`FEW_ROWS` is the number of dev rows and of rows to predict: three batches of these."""
STEPS = 2


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="without 12x768")
    parser.add_argument("--cases", nargs="+", help="some of them, such as 6x384/train")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(measured(**json.loads(options.worker))))
        return
    found: dict[str, Any] = {}
    print(f"{'':18}{'batch':>8}{'row':>6}{'forecast MiB':>14}{'measured MiB':>14}{'ratio':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for encoder, stage, batch, length in CASES:
            name = f"{encoder}/{stage}"
            if (options.quick and encoder == "12x768") or name not in (options.cases or [name]):
                continue
            if not (Path(folder) / encoder).exists():
                answer("memory.py", {"encoder": encoder, "folder": folder}, 1, ["--worker"])
            asked = {"encoder": encoder, "folder": folder, "stage": stage, "batch": batch, "length": length}
            one = found[name] = answer("memory.py", asked, 1, ["--worker"])
            ratio = one["forecast"] / one["measured"]
            mib = f"{one['forecast'] / 2**20:>14,.0f}{one['measured'] / 2**20:>14,.0f}"
            print(f"{name:18}{batch:>8,}{length:>6}{mib}{ratio:>8.2f}", flush=True)
    ratios = {name: one["forecast"] / one["measured"] for name, one in found.items()}
    print(json.dumps({"ratios": ratios, "found": found}))


def measured(encoder: str, folder: str, stage: str = "", batch: int = 0, length: int = 0) -> dict[str, float]:
    """Forecast and measured bytes of the process; without a stage, only make the encoder."""
    scaling.SHAPE = SHAPES[encoder]
    place = Path(folder) / encoder / "encoder"
    if not stage:
        place.parent.mkdir()
        scaling._make_encoder(place)
        return {}
    from viaduct.memory import begin_afresh, peak_bytes
    from viaduct.models.numerics import prepare
    from viaduct.runs.rows import Loaded
    from viaduct.runs.stage import kind_of

    work = _work(stage, batch, length)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        prepare("cpu", 1)
        context = scaling._context(work, (), place, Path(scratch))
        rows = _rows(SHAPES[encoder].vocabulary, length)
        context = replace(
            context, load=lambda task, split, _: Loaded(rows[task][: None if split == "train" else FEW_ROWS], None)
        )
        begin_afresh()
        before = peak_bytes()
        kind_of(work.kind).run(context, work)
        return {"forecast": _forecast(place, work, rows), "measured": peak_bytes(), "before": before}


def _forecast(encoder: Path, work: Any, rows: dict[str, tuple[Any, ...]]) -> float | None:
    """The forecast as in planning, for the actual number of tokens."""
    from viaduct.runs.encoder import shape_of
    from viaduct.runs.sizes import Sizes

    shape: Any = shape_of(str(encoder), None)
    nothing: Any = ()
    sizes = Sizes(nothing, nothing, nothing, shape, shape)
    tokens = sum(len(text.split()) for row in rows[CARD] for text in row.texts)
    if work.kind == "predict":
        return sizes.predicting_bytes()
    replay = getattr(work, "replay", None)
    more = {} if replay is None else {"beside": replay.batch_tokens, "mask_fraction": replay.mask_fraction}
    return sizes.training_bytes(work.training, tokens, **more)


def _rows(vocabulary: int, length: int) -> dict[str, tuple[Any, ...]]:
    """Card -> its rows, of made-up words with Zipfian frequencies: pairs up to this length, and lines of text."""
    from viaduct.rows import Pair, Sentence

    generator = np.random.default_rng(0)

    def text(count: int) -> str:
        return " ".join(word(UNKNOWN + 1 + at % (vocabulary - 10)) for at in generator.zipf(1.2, count))

    sizes = generator.integers(length // 8, length // 2 - 2, ROWS)
    pairs = [Pair(str(at), "en", text(n), text(n), LABELS[at % len(LABELS)]) for at, n in enumerate(sizes)]
    return {CARD: tuple(pairs), "text": tuple(Sentence(str(at), "en", text(40)) for at in range(ROWS))}


def _work(stage: str, batch: int, length: int) -> Any:
    from viaduct.inference.predict import PredictWork
    from viaduct.runs.spec import Replay, Training
    from viaduct.training.joint import JointWork
    from viaduct.training.train import TrainWork

    training = Training(epochs=1.0, max_steps=STEPS, batch_tokens=batch, max_length=length, evaluations=1)
    if stage == "predict":
        return PredictWork(task=CARD, languages=("en",), split="test", max_length=length, stride=length // 2)
    if stage == "train":
        return TrainWork(task=CARD, training=training, seed=1)
    replay = Replay(batch_tokens=batch, max_length=length, lines=ROWS)
    return JointWork(tasks=(CARD,), replay=replay, replay_languages=("en",), training=training, seed=1)


if __name__ == "__main__":
    main()
