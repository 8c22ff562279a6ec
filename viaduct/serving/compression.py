"""Compressed arms: whether a compression can be meant, what its stages are, and the text that they read."""

from __future__ import annotations

from collections.abc import Sequence

from viaduct.errors import UsageError
from viaduct.languages import language as language_of
from viaduct.runs.census import Census
from viaduct.runs.check import Gap, check_kind, there
from viaduct.runs.forecast import shape_of
from viaduct.runs.rows import Need, concerning
from viaduct.runs.spec import ENGINES, Compression, Distil, Intermediate, Recipe, Retrieval
from viaduct.runs.stage import CompressWork, DistilWork
from viaduct.tasks.registry import task as card_of


def check_compressions(recipe: Recipe) -> None:
    """Nothing. Raises UsageError for compressions that cannot be meant, or cannot be done with these targets."""
    for arm in recipe.intermediates:
        if arm.compression is not None:
            where = f"arm '{arm.name}': compression"
            _check_alone(arm.compression, where)
            _check_layers(arm.compression, recipe, where)
            _check_vocabulary(arm.compression, recipe, where)
            for target in recipe.targets:
                if card_of(target.task).kind in ("retrieval", "mining"):
                    _check_retrieval(arm.compression, target.retrieval, f"{where}, target '{target.task}'")


def _check_alone(asked: Compression, where: str) -> None:
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
            check_kind(card_of(name), "text", f"{where}: distil.text")
    for name in asked.text:
        check_kind(card_of(name), "text", f"{where}: text")


def _check_layers(asked: Compression, recipe: Recipe, where: str) -> None:
    wanted = asked.layers if asked.distil is None else asked.distil.layers
    shape = None if wanted is None else shape_of(recipe.encoder, recipe.revision)
    if wanted is not None and shape is not None and wanted > shape.layers:
        fix = f"a number from 1 to {shape.layers}"
        raise UsageError(f"{where} keeps {wanted} layers, the encoder has {shape.layers}", fix=fix)


def _check_vocabulary(asked: Compression, recipe: Recipe, where: str) -> None:
    if asked.vocabulary is None:
        return
    for code in asked.vocabulary:
        language_of(code)
        if not any(code in card_of(name).languages for name in asked.text):
            fix = f"name another language, or other cards in {where.partition(':')[0]}'s compression.text"
            raise UsageError(f"{where}: {', '.join(asked.text)} has no language '{code}'", fix=fix)
    if "en" not in asked.vocabulary and any(card_of(target.task).trained_on for target in recipe.targets):
        raise UsageError(f"{where}: vocabulary without English, in which targets are trained", fix='add "en"')


def _check_retrieval(asked: Compression, how: Retrieval, where: str) -> None:
    if asked.reduced and how.layers is not None and (len(how.layers) != 1 or how.layers[0] < 1):
        raise UsageError(
            f"{where}: {asked.engine} in {asked.precision} gives the states of one layer above the embeddings",
            fix="name one in retrieval.layers, such as the one that another arm's choices.json says",
        )
    most = asked.layers if asked.distil is None else asked.distil.layers
    over = [layer for layer in how.layers or () if most is not None and layer > most]
    if over:
        fix = "name layers that all arms have, or None for the one two thirds up of each arm's encoder"
        raise UsageError(f"{where} pools layer {over[0]}, the arm keeps {most}", fix=fix)


def compression_gaps(arm: Intermediate, recipe: Recipe, census: Census) -> list[Gap]:
    """What is not there of the text that an arm's compression reads."""
    asked = arm.compression
    if asked is None:
        return []
    gaps: list[Gap] = []
    if asked.distil is not None:
        gaps += there(asked.distil.text, asked.distil.languages, ("train",), recipe, census)[1]
    if asked.vocabulary is not None:
        gaps += there(asked.text, asked.vocabulary, ("train",), recipe, census)[1]
    if _is_calibrated(asked):
        gaps += there(asked.text, None, ("train",), recipe, census)[1]
    return gaps


def distil_work(distil: Distil, seed: int, recipe: Recipe, census: Census) -> tuple[DistilWork, list[Need]]:
    """The stage that trains the student, and the text it reads."""
    languages, _ = there(distil.text, distil.languages, ("train",), recipe, census)
    substitutions = tuple(one for name in distil.text for one in concerning(recipe.substitutions, name, ("train",)))
    work = DistilWork(distil=distil, languages=languages, seed=seed, substitutions=substitutions)
    return work, _needs(distil.text, languages, census)


def compress_work(asked: Compression, recipe: Recipe, census: Census) -> tuple[CompressWork, list[Need]]:
    """The stage that cuts layers and vocabulary, and the text it reads."""
    kept = asked.vocabulary or ()
    text = asked.text if kept else ()
    substitutions = tuple(one for name in text for one in concerning(recipe.substitutions, name, ("train",)))
    work = CompressWork(layers=asked.layers, vocabulary=kept, text=text, substitutions=substitutions)
    return work, _needs(text, kept, census)


def calibration(
    asked: Compression | None, languages: Sequence[str], recipe: Recipe, census: Census
) -> tuple[tuple[str, str], ...]:
    """(card, language) of the text that an engine is calibrated on: of these languages, or of all where none of them
    has any; () for what needs none."""
    if asked is None or not _is_calibrated(asked):
        return ()
    found, _ = there(asked.text, None, ("train",), recipe, census)
    wanted = [code for code in found if code in languages] or found
    return tuple((name, code) for name, _, code in _needs(asked.text, wanted, census))


def _is_calibrated(asked: Compression) -> bool:
    """ONNX Runtime and torch find the ranges of int8 as they go."""
    return (asked.engine, asked.precision) == ("openvino", "int8")


def _needs(cards: Sequence[str], languages: Sequence[str], census: Census) -> list[Need]:
    """The train splits that are there."""
    wanted = [(name, "train", code) for name in cards for code in languages if code in card_of(name).languages]
    return [need for need in wanted if census.problem(*need, labelled=False) is None]
