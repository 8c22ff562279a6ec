"""The arm field `compression`: how the arm's model is made smaller, the stages this takes, and what predicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel

from viaduct.errors import UsageError
from viaduct.languages import ENGLISH
from viaduct.languages import language as language_of
from viaduct.runs.bounds import Layers, Some, later
from viaduct.runs.census import Census
from viaduct.runs.chain import Chain
from viaduct.runs.encoder import shape_of
from viaduct.runs.field import RecipeField
from viaduct.runs.gaps import Gap, card_of_kind, text_needs, there
from viaduct.runs.parts import RecipeParts, Retrieval, Spec
from viaduct.runs.rows import Need
from viaduct.runs.stage import Work
from viaduct.serving.compress import CompressWork
from viaduct.serving.distil import Distil, DistilWork

ENGINES: Mapping[str, tuple[str, ...]] = {
    "torch": ("fp32", "bf16", "int8"),
    "onnx": ("fp32", "int8"),
    "openvino": ("fp32", "bf16", "int8"),
}
"""Engine that runs a trained model on a CPU -> its precisions. ONNX Runtime has no bfloat16 products on CPUs."""

ON_GPUS: Mapping[str, tuple[str, ...]] = {"torch": ("fp32", "bf16", "fp16")}
"""The same on a GPU, where models are only measured."""

GPU = "GPU "
"""Prefix of the device's name in measurements made on a GPU."""

EngineName = Literal["torch", "onnx", "openvino"]
Precision = Literal["fp32", "bf16", "int8"]
UNCHANGED = ("torch", "fp32")
"""The engine and precision that models are trained with."""


class Compression(Spec):
    """How an arm's model is made smaller: the encoder before target training, or the trained model's number format."""

    layers: Layers | None = None
    """Keep this many of the encoder's lowest layers; the target trains what is left."""
    vocabulary: Some[str] | None = None
    """Keep only the pieces that these languages' text uses: its tokens stay the same, other text may become unknown."""
    text: Some[str] = ("text",)
    """Cards of kind "text" in which pieces for `vocabulary` are found, and on which OpenVINO's int8 is calibrated."""
    distil: Distil | None = None
    """Replace the encoder with a student distilled from it."""
    engine: EngineName = "torch"
    """The engine that predicts. Nothing is retrained: only the trained model's numbers change."""
    precision: Precision = "fp32"

    @property
    def reduced(self) -> bool:
        """Whether predictions are made with anything but torch in float32."""
        return (self.engine, self.precision) != UNCHANGED

    @property
    def layers_left(self) -> int | None:
        """Number of layers of the encoder that targets start from; None: all."""
        return self.layers if self.distil is None else self.distil.layers


class CompressionField(RecipeField[Compression]):
    """How the model is made smaller after the intermediate tasks; the baseline has none. An arm that differs only
    in its `compression` from another shares all earlier stages with it."""

    name = "compression"
    owner = "arm"
    model = Compression
    predictor = "viaduct.serving.convert:planned_engine"

    def check(self, recipe: RecipeParts, owner: BaseModel, census: Census) -> None:
        """Raise UsageError for a compression that makes no sense, or cannot be done with these targets."""
        asked, where = self._of(owner), f"arm '{getattr(owner, 'name', '')}': compression"
        _check_alone(asked, where, census)
        shape = None if asked.layers_left is None else shape_of(recipe.encoder, recipe.revision)
        if asked.layers_left is not None and shape is not None and asked.layers_left > shape.layers:
            fix = f"a number from 1 to {shape.layers}"
            raise UsageError(f"{where} keeps {asked.layers_left} layers, but the encoder has {shape.layers}", fix=fix)
        _check_vocabulary(asked, recipe, census, where)
        for target in recipe.targets:
            if asked.reduced and target.products != "fp32":
                what = f"{where}: {asked.engine} in {asked.precision} predicts, but target '{target.task}' has products"
                raise UsageError(f"{what} in {target.products}", fix="leave out one of the two")
            if census.task(target.task).row_kind.is_searched:
                _check_retrieval(asked, target.retrieval, f"{where}, target '{target.task}'")

    def gaps(self, recipe: RecipeParts, owner: BaseModel, census: Census) -> list[Gap]:
        """Text that is needed but missing."""
        asked = self._of(owner)
        gaps: list[Gap] = []
        if asked.distil is not None:
            gaps += there(asked.distil.text, asked.distil.languages, ("train",), recipe, census)[1]
        if asked.vocabulary is not None:
            gaps += there(asked.text, asked.vocabulary, ("train",), recipe, census)[1]
        if is_calibrated(asked.engine, asked.precision):
            gaps += there(asked.text, None, ("train",), recipe, census)[1]
        return gaps

    def after_intermediate(self, chain: Chain) -> None:
        """Add the stages that are needed: one that distils a student, and one that keeps fewer layers or pieces."""
        asked = self._of(chain.arm)
        if asked.distil is not None:
            distil = asked.distil
            languages, _ = there(distil.text, distil.languages, ("train",), chain.recipe, chain.census)
            chain.add(DistilWork(distil=distil, languages=languages, seed=chain.seed), "distil")
        if asked.layers is not None or asked.vocabulary is not None:
            text = asked.text if asked.vocabulary else ()
            chain.add(CompressWork(layers=asked.layers, vocabulary=asked.vocabulary or (), text=text), "")

    def work_fields(self, kind: str) -> Mapping[str, tuple[Any, Any]]:
        """The engine that predicts, its precision and its calibration text."""
        if kind != "predict":
            return {}
        return {
            "engine": (EngineName, later("torch")),
            "precision": (Precision, later("fp32")),
            "calibration": (tuple[tuple[str, str], ...], later(())),
        }

    def work_values(self, kind: str, chain: Chain) -> Mapping[str, object]:
        """The engine that predicts, and the text it is calibrated on: in the predicted languages, or in all if none of
        these has any."""
        asked = self.of(chain.arm)
        if kind != "predict" or asked is None:
            return {}
        calibration: tuple[tuple[str, str], ...] = ()
        if is_calibrated(asked.engine, asked.precision):
            found, _ = there(asked.text, None, ("train",), chain.recipe, chain.census)
            wanted = [code for code in found if code in chain.languages] or found
            calibration = tuple((name, code) for name, _, code in text_needs(asked.text, wanted, chain.census))
        return {"engine": asked.engine, "precision": asked.precision, "calibration": calibration}

    def needs(self, work: Work, census: Census) -> list[Need]:
        """The text that the engine is calibrated on."""
        return [(name, "train", code) for name, code in calibration_of(work)]

    def label(self, work: Work) -> str:
        """The engine and precision that predict; "" for the model as it was trained."""
        return f"by {' in '.join(engine_of(work))}" if self.is_at_work(work) else ""

    def is_at_work(self, work: Work) -> bool:
        """Whether anything but torch in float32 predicts."""
        return engine_of(work) != UNCHANGED

    def on_cpu(self, work: Work) -> bool:
        """Whether another engine or precision predicts: these are for CPUs only."""
        return self.is_at_work(work)

    def words(self, owner: BaseModel) -> str:
        """How the model is made smaller, in words."""
        asked = self._of(owner)
        parts = []
        if asked.distil is not None:
            how = asked.distil
            parts.append(
                f"student of {how.layers} layers; states {how.hidden:g}, guesses at masked words {how.logits:g} where"
                f" the encoder has a head for them (temperature {how.temperature:g}); {how.training.words()}"
            )
        parts += [f"lowest {asked.layers} layers of the encoder"] if asked.layers is not None else []
        parts += [f"pieces of text in {' '.join(asked.vocabulary)}"] if asked.vocabulary is not None else []
        parts += [f"predictions by {asked.engine} in {asked.precision}"] if asked.reduced else []
        return "; ".join(parts)

    def _of(self, owner: BaseModel) -> Compression:
        return self.of(owner) or Compression()


COMPRESSION = CompressionField()


def is_calibrated(engine: str, precision: str) -> bool:
    """Whether int8 ranges are measured beforehand; ONNX Runtime and torch determine them at run time."""
    return (engine, precision) == ("openvino", "int8")


def engine_of(work: Work) -> tuple[str, str]:
    """(engine, precision) of the predictions."""
    return getattr(work, "engine", UNCHANGED[0]), getattr(work, "precision", UNCHANGED[1])


def calibration_of(work: Work) -> tuple[tuple[str, str], ...]:
    """(card, language) of the text that the engine is calibrated on; () for anything but OpenVINO's int8."""
    found: tuple[tuple[str, str], ...] = getattr(work, "calibration", ())
    return found


def _check_alone(asked: Compression, where: str, census: Census) -> None:
    if asked == Compression(text=asked.text):
        fix = "set one of: layers, vocabulary, distil, engine, precision"
        raise UsageError(f"{where} makes nothing smaller", fix=fix)
    if asked.layers is not None and asked.distil is not None:
        fix = "leave out `layers`: the student has distil.layers"
        raise UsageError(f"{where} has both layers and distil", fix=fix)
    if asked.precision not in ENGINES[asked.engine]:
        fix = f"use one of: {', '.join(ENGINES[asked.engine])}; or another engine"
        raise UsageError(f"{where}: {asked.engine} does not run in {asked.precision} on CPUs", fix=fix)
    if asked.distil is not None:
        if not asked.distil.hidden and not asked.distil.logits:
            raise UsageError(f"{where}: the student learns nothing", fix="give distil.hidden or distil.logits a weight")
        for name in asked.distil.text:
            card_of_kind(census, name, "text", f"{where}: distil.text")
    for name in asked.text:
        card_of_kind(census, name, "text", f"{where}: text")


def _check_vocabulary(asked: Compression, recipe: RecipeParts, census: Census, where: str) -> None:
    if asked.vocabulary is None:
        return
    for code in asked.vocabulary:
        language_of(code)
        if not any(code in census.task(name).languages for name in asked.text):
            fix = f"name another language, or other cards in {where.partition(':')[0]}'s compression.text"
            raise UsageError(f"{where}: {', '.join(asked.text)} has no language '{code}'", fix=fix)
    trained = any(census.task(target.task).trained_on for target in recipe.targets)
    if ENGLISH not in asked.vocabulary and trained:
        raise UsageError(f"{where}: vocabulary without English, in which targets are trained", fix='add "en"')


def _check_retrieval(asked: Compression, how: Retrieval, where: str) -> None:
    if asked.reduced and how.layers is not None and (how.is_chosen or how.layers in ((), (0,))):
        raise UsageError(
            f"{where}: {asked.engine} in {asked.precision} gives the states of one layer above the embeddings",
            fix="name one in retrieval.layers, such as the one in another arm's choices.json",
        )
    named = () if how.layers is None or how.layers == "all" else how.layers
    over = [layer for layer in named if asked.layers_left is not None and layer > asked.layers_left]
    if over:
        fix = "name layers that all arms have, or None for the one two thirds up each arm's encoder"
        raise UsageError(f"{where} pools layer {over[0]}, but the arm keeps {asked.layers_left}", fix=fix)
