"""The claims this project puts to the test, in our words, and what a run says about each.

C01 to C20 are of arXiv 2005.13013 (C03 of 2003.11080); their gains are in points of the macro score over XLM-R large
without intermediate training, on dev sets but for C12. Q1 to Q4 are open. A claim about effects is never decided by
generated data, by replaced splits, or where a language, task, arm or seed is missing; then the verdict is "cannot
tell", with what is not there. The rules are in `setup_claims`, `effect_claims` and `image_claims`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from viaduct.report import effect_claims, setup_claims
from viaduct.report.evidence import Evidence, Finding, UndecidedError, Verdict, check_roles
from viaduct.results.record import About, ResultRow
from viaduct.serving.speed import MeasuredInference
from viaduct.tasks.card import Task
from viaduct.tasks.registry import TASKS
from viaduct.vision import claims as image_claims

Provenance = Literal["read", "confirmed", "from memory", "open"]
"""How sure we are that the source says so: read in a public copy; remembered and confirmed by arithmetic or another
copy; remembered only (never to be cited); or nobody's claim."""

_X = "arXiv 2005.13013"
_XTREME = "arXiv 2003.11080"
_DEV = "all nine targets, 3 seeds, XLM-R large"
_SEVERAL = "6 intermediate tasks, 3 seeds"
_IMAGES = "all nine targets, the controls, 9 seeds"
_CARDS = "cards"
_MACRO = "macro difference, interval"


@dataclass(frozen=True)
class Claim:
    """One row of the table."""

    id: str
    text: str
    source: str
    provenance: Provenance
    kind: Literal["setup", "effect"]
    decided_by: str
    needs: str
    """What a run must have before it may say anything but "cannot tell"."""
    rule: Callable[[Evidence], Finding]


def _setup(
    id: str, text: str, decided_by: str, rule: Callable[[Evidence], Finding], needs: str = "", source: str = _X
) -> Claim:
    return Claim(id, text, source, "read", "setup", decided_by, needs or "-", rule)


def _effect(
    id: str, text: str, decided_by: str, rule: Callable[[Evidence], Finding], needs: str, provenance: Provenance
) -> Claim:
    return Claim(id, text, "open" if provenance == "open" else _X, provenance, "effect", decided_by, needs, rule)


CLAIMS: tuple[Claim, ...] = (
    _setup("C01", "Experiments start from XLM-R large", "the recipe's encoder", setup_claims.encoder),
    _setup("C02", "There are nine XTREME target tasks", "the recipe's targets", setup_claims.targets, _CARDS),
    _setup(
        "C03", "Transfer is zero-shot, into up to 40 languages", _CARDS, setup_claims.languages, _CARDS, source=_XTREME
    ),
    _effect("C04", "SQuAD first gains 8.2 points on average", _MACRO, effect_claims.squad, _DEV, "from memory"),
    _effect("C05", "MNLI first gains 7.5 points on average", _MACRO, effect_claims.mnli, _DEV, "from memory"),
    _effect("C06", "HellaSwag first gains 7.0 points on average", _MACRO, effect_claims.hellaswag, _DEV, "from memory"),
    _effect(
        "C07",
        "All nine intermediate tasks together gain 8.7 points on average",
        _MACRO,
        effect_claims.all_nine,
        _DEV,
        "from memory",
    ),
    _effect(
        "C08",
        "BUCC and Tatoeba gain dramatically after almost every intermediate task",
        "differences above 0 after Holm, of 5 points or more, for 80 % of the intermediate tasks",
        effect_claims.retrieval,
        _SEVERAL,
        "read",
    ),
    _setup(
        "C09",
        "BUCC and Tatoeba are evaluated without training data of their own",
        "no train split on the cards, no training behind the results",
        setup_claims.untrained_retrieval,
        _CARDS,
    ),
    _effect(
        "C10",
        "TyDiQA gains consistently after many intermediate tasks",
        "differences above 0 after Holm, for more than half of the intermediate tasks",
        effect_claims.tydiqa,
        _SEVERAL,
        "from memory",
    ),
    _effect(
        "C11",
        "XNLI does not gain",
        "the upper of the two tests of TOST around 0, margin half a point, for every intermediate task",
        effect_claims.xnli,
        _SEVERAL,
        "from memory",
    ),
    _effect(
        "C12",
        "The best intermediate task for each target gains 5.4 points of the XTREME test average",
        "the official average, best chosen on English dev",
        effect_claims.best_per_target,
        "all nine targets with test labels, dev scores, 3 seeds, XLM-R large",
        "read",
    ),
    _effect(
        "C13",
        "English intermediate training beats adding multilingual masked LM to it",
        "paired difference of the arms",
        effect_claims.plain_against_replay,
        "all nine targets, both arms, 3 seeds",
        "read",
    ),
    _effect(
        "C14",
        "English intermediate data beat machine-translated ones",
        "paired difference of the arms",
        effect_claims.english_against_translated,
        "all nine targets, both arms, 3 seeds",
        "read",
    ),
    _setup(
        "C15",
        "The nine intermediate tasks are question answering, tagging, classification of sentences and their completion",
        "the cards' kinds",
        setup_claims.kinds,
        _CARDS,
    ),
    Claim(
        "C16",
        "ANLI+ has 1,104,934 training examples",
        _X,
        "confirmed",
        "setup",
        "rows of ANLI R1 to R3, MNLI and SNLI",
        "the data",
        setup_claims.anli_plus,
    ),
    Claim("C17", "MNLI has 392,702 training examples", _X, "confirmed", "setup", "rows", "the data", setup_claims.mnli),
    _setup("C18", "SQuAD v2.0 asks for spans of Wikipedia text", "the card", setup_claims.squad2, _CARDS),
    _setup(
        "C19", "HellaSwag asks how video captions and WikiHow texts go on", "the card", setup_claims.hellaswag, _CARDS
    ),
    _setup(
        "C20",
        "There are three phases: masked-LM pretraining, intermediate training, target evaluation",
        "the recipe's chain",
        setup_claims.phases,
    ),
    _effect(
        "Q1",
        "Training on captioned images first raises the XTREME average over no intermediate training",
        "primary contrast: macro average over tasks without English",
        image_claims.raises_scores,
        _IMAGES,
        "open",
    ),
    _effect(
        "Q2",
        "It does so because of what is in the images",
        "contrasts with text only, shuffled and permuted images",
        image_claims.because_of_images,
        _IMAGES,
        "open",
    ),
    _effect(
        "Q3",
        "It leaves the cost of inference unchanged",
        "equal weights, parameters and operations; interval of the ratio of times holds 1",
        image_claims.unchanged_inference,
        "20 paired rounds of measured inference",
        "open",
    ),
    _effect(
        "Q4",
        "It adds to intermediate training on text, or replaces it",
        "both together against text alone; images alone against text alone",
        image_claims.with_text,
        _IMAGES,
        "open",
    ),
)


class ClaimLine(NamedTuple):
    """One claim and what this run says about it."""

    claim: Claim
    verdict: Verdict
    why: str
    """The numbers behind the verdict, or what is missing."""


def section(
    about: About,
    rows: Sequence[ResultRow],
    roles: Mapping[str, str] | None = None,
    *,
    choosing: Sequence[ResultRow] = (),
    inference: Sequence[MeasuredInference] = (),
    image_used: Mapping[str, bool] | None = None,
    cards: Sequence[Task] = TASKS,
) -> tuple[ClaimLine, ...]:
    """Every claim with this run's verdict and the numbers behind it, in the order of the table.

    `roles`: arm -> role (see `viaduct.report.evidence.ROLES`); None: the arms whose names are roles. `choosing`: result
    rows of the same arms on dev splits (C12). `inference`: what Measure stages found (Q3). `image_used`: arm -> whether
    its stage is shown to use the image (Q2), of those that can show it. Raises UsageError for arms and roles that do
    not exist and for a role given twice.
    """
    of_encoder = tuple(row for row in rows if row.encoder == about.encoder)
    known = {card.name: card for card in cards}
    evidence = Evidence(
        about, of_encoder, check_roles(about, roles), known, tuple(choosing), tuple(inference), image_used or {}
    )
    return tuple(_line(claim, evidence) for claim in CLAIMS)


def _line(claim: Claim, evidence: Evidence) -> ClaimLine:
    try:
        return ClaimLine(claim, *claim.rule(evidence))
    except UndecidedError as reason:
        return ClaimLine(claim, "cannot tell", str(reason))
