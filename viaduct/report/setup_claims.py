"""How the literature's experiments are set up, and whether this run matches them: facts, from which nothing follows.

"Not as in the source" means that this run, or the data as found, is another experiment; its scores are for that one.
"""

from __future__ import annotations

from viaduct.report.evidence import Claim, Evidence, Finding, Rule, UndecidedError, UnrelatedError, fact, require_real
from viaduct.results.record import About
from viaduct.results.xtreme import TARGETS

XLMR_LARGE = "xlm-roberta-large"
_SHAPE = {"layers": "24", "width": "1,024", "vocabulary": "250,002"}


def is_xlmr_large(about: About) -> bool | None:
    """Whether the encoder is XLM-R large, by its name and its shape; None if these do not settle it (a folder with
    another name may hold it)."""
    names = {about.encoder, about.encoder_details.get("name", "")}
    named = any(name.replace("--", "/").rpartition("/")[2].lower() == XLMR_LARGE for name in names)
    shape = {name: value for name, value in about.encoder_details.items() if name in _SHAPE}
    if any(value != _SHAPE[name] for name, value in shape.items()):
        return False
    return True if named else None


def encoder(evidence: Evidence) -> Finding:
    """C01: the encoder is XLM-R large."""
    about = evidence.about
    facts = ", ".join(f"{name} {value}" for name, value in about.encoder_details.items() if name in _SHAPE)
    words = about.encoder + (f" ({facts})" if facts else "")
    large = is_xlmr_large(about)
    if large is None:
        raise UndecidedError(f"this run starts from {words}, which may or may not be XLM-R large")
    return fact(f"this run starts from {words}", same=large)


def targets(evidence: Evidence) -> Finding:
    """C02: the recipe has all nine XTREME targets."""
    lacking = [name for name in TARGETS if name not in evidence.about.tasks]
    if lacking:
        count = len(TARGETS) - len(lacking)
        return fact(f"this recipe has {count} of the nine targets, without {', '.join(lacking)}", same=False)
    return fact(f"the recipe's targets are {', '.join(evidence.about.tasks)}", same=True)


def untrained_retrieval(evidence: Evidence) -> Finding:
    """C09: no result on BUCC or Tatoeba comes from training on them."""
    found = {name: {row.selection for row in evidence.rows if row.task == name} for name in ("bucc", "tatoeba")}
    if not any(found.values()):
        raise UnrelatedError("it has no results on BUCC or Tatoeba")
    trained = [
        f"results of {name} come from training ({', '.join(sorted(own - {'untrained'}))})"
        for name, own in found.items()
        if own - {"untrained"}
    ]
    return fact("; ".join(trained) or "no result comes from training on them", same=not trained)


def _rows(claimed: int, *choices: tuple[str, ...]) -> Rule:
    """The rule that `claimed` English training rows were found, for the first choice of tasks that is in the data."""

    def rule(evidence: Evidence) -> Finding:
        found = {
            note.task: note.found
            for note in reversed(evidence.about.data)
            if (note.split, note.language) == ("train", "en") and note.found
        }
        names = next((names for names in choices if found.keys() >= set(names)), None)
        if names is None:
            raise UnrelatedError("its data do not include all of the training files")
        require_real(evidence)
        total = sum(found[name] for name in names)
        parts = " + ".join(f"{name} {found[name]:,}" for name in names)
        return fact(f"{total:,} rows found ({parts})", same=total == claimed)

    return rule


def phases(evidence: Evidence) -> Finding:
    """C20: masked-LM pretraining (here, or by XLM-R's authors), an intermediate stage, a target stage."""
    about = evidence.about
    arms = [arm for arm in about.arms if any(name == arm or name.startswith(f"{arm}: ") for name in about.settings)]
    ends = [name for name in about.settings if name.startswith("target ")]
    if not arms or not ends:
        raise UnrelatedError("it has no intermediate stage or no target")
    if "pretrain" in about.settings:
        begin = "this recipe pretrains its encoder by masked LM"
    elif XLMR_LARGE.removesuffix("-large") in f"{about.encoder} {about.encoder_details.get('name', '')}".lower():
        begin = f"{about.encoder} was pretrained by masked LM by its authors"
    else:
        raise UndecidedError(f"how {about.encoder} was pretrained is not recorded")
    return fact(f"{begin}; then intermediate stages ({', '.join(arms)}); then {len(ends)} targets", same=True)


CLAIMS = (
    Claim("C01", "Experiments start from XLM-R large", "the recipe's encoder", encoder, kind="setup"),
    Claim("C02", "There are nine XTREME target tasks", "the recipe's targets", targets, kind="setup"),
    Claim(
        "C09",
        "BUCC and Tatoeba are evaluated without training data of their own",
        "how its results were selected",
        untrained_retrieval,
        "results on them",
        "setup",
    ),
    Claim(
        "C16",
        "ANLI+ has 1,104,934 training examples",
        "rows of ANLI R1 to R3, MNLI and SNLI",
        _rows(1_104_934, ("anli_plus",), ("anli", "mnli", "snli")),
        "the data",
        "setup",
        provenance="confirmed",
    ),
    Claim(
        "C17",
        "MNLI has 392,702 training examples",
        "rows",
        _rows(392_702, ("mnli",)),
        "the data",
        "setup",
        provenance="confirmed",
    ),
    Claim(
        "C20",
        "There are three phases: masked-LM pretraining, intermediate training, target evaluation",
        "the recipe's chain",
        phases,
        kind="setup",
    ),
)
