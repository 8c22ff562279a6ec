"""What does a smaller or faster multilingual-e5-small lose, with and without MNLI first, and what does it save?

Hypothesis, stated before the run: in the five languages that are kept a vocabulary of five or fifteen languages loses
nothing and saves most of the model's bytes, but no time; bfloat16 loses nothing, int8 less than a point, in every
engine; a student of six layers loses more than three points and halves the latency; what MNLI gives in XNLI is still
there in the smallest model.

Design: the encoder as it is, and after MNLI (further training for this encoder, which has seen NLI), each whole, made
smaller or faster in one way, and in several at once. Targets are trained as in xstilts_e5. Models are measured on the
CPU with one thread, each in turns with the whole baseline. All are evaluated in the five languages alone, which the
page's means are over. Retrieval is left out: it trains nothing, and engines do to its encoder what they do to these.

Analysis: the comparisons of `deciding`, corrected for four, with three seeds; "equivalent" means within half a point.
Nothing is added after a score was seen.

Command:   viaduct run cost_e5 --data FOLDER --set encoder=ENCODER --processes 2  (pip install 'viaduct-nlp[engines]')
Cost:      `viaduct plan cost_e5`
Result:    docs/log.md, the four comparisons; costs are not measured yet
"""

from collections.abc import Iterator

from viaduct.recipes.pieces import replacing
from viaduct.recipes.xstilts_e5 import PAIRS, TAGS, TIME
from viaduct.recipes.xstilts_e5 import SUBSTITUTIONS as E5_SUBSTITUTIONS
from viaduct.runs.spec import Intermediate, Recipe, Substitution, Target, Training
from viaduct.serving.compression import Compression
from viaduct.serving.distil import Distil
from viaduct.serving.measure import Measure

FIVE = ("en", "ar", "de", "es", "zh")
XNLI = ("en", "ar", "bg", "de", "el", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh")
STUDENT = Distil(
    layers=6,
    languages=XNLI,
    training=Training(
        learning_rate=2e-4, epochs=100.0, max_steps=300, batch_tokens=2_048, max_length=64, precision="bf16"
    ),
)
WAYS: dict[str, Compression] = {
    "five_languages": Compression(vocabulary=FIVE),
    "fifteen_languages": Compression(vocabulary=XNLI),
    "six_layers": Compression(distil=STUDENT),
    "bf16": Compression(precision="bf16"),
    "int8": Compression(precision="int8"),
    "onnx": Compression(engine="onnx"),
    "onnx_int8": Compression(engine="onnx", precision="int8"),
    "openvino": Compression(engine="openvino"),
    "openvino_bf16": Compression(engine="openvino", precision="bf16"),
    "openvino_int8": Compression(engine="openvino", precision="int8"),
    "smallest": Compression(vocabulary=FIVE, distil=STUDENT, engine="onnx", precision="int8"),
}
"""Name -> how a model is made smaller, or what runs it."""
MNLI = "mnli"
LESS = (
    Substitution(task="xnli", split="test", use_split="dev", part=(0.0, 0.1), why=TIME),
    Substitution(task="panx", split="test", use_split="dev", part=(0.0, 0.05), why=TIME),
)
SUBSTITUTIONS = tuple(one for one in replacing(E5_SUBSTITUTIONS, LESS) if one.task in ("xnli", "mnli", "panx"))


def arms() -> Iterator[Intermediate]:
    """The encoder as it is and after MNLI, whole and in every way."""
    yield Intermediate(name="none")
    yield Intermediate(name=MNLI, tasks=(MNLI,), training=PAIRS)
    for name, way in WAYS.items():
        yield Intermediate(name=name, compression=way)
        yield Intermediate(name=f"{MNLI}_{name}", tasks=(MNLI,), training=PAIRS, compression=way)


def recipe() -> Recipe:
    """{none, MNLI} x {whole, eleven ways to make it smaller or faster} on XNLI and PAN-X in five languages."""
    return Recipe(
        name="cost_e5",
        hypothesis=(
            "In the languages that are kept a smaller vocabulary and bfloat16 lose nothing, int8 less than a point, "
            "six distilled layers more than three; what MNLI gives in XNLI is still there in the smallest model."
        ),
        encoder="multilingual-e5-small",
        intermediates=tuple(arms()),
        targets=(
            Target(task="xnli", training=PAIRS, languages=FIVE),
            Target(task="panx", training=TAGS, languages=FIVE),
        ),
        seeds=(1, 2, 3),
        deciding=(
            ("five_languages", "none"),
            ("openvino_int8", "none"),
            ("six_layers", "none"),
            (f"{MNLI}_smallest", "smallest", "xnli"),
        ),
        compare=tuple((f"{MNLI}_{name}", MNLI) for name in WAYS),
        substitutions=SUBSTITUTIONS,
        measure=Measure(task="xnli"),
    )
