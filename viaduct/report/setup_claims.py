"""The literature's claims about how an experiment is set up, decided by cards, by the data as found, by the recipe.

"Contradicted" means that this run, or the data as found, is not as claimed: its scores then speak for another
experiment.
"""

from __future__ import annotations

from viaduct.languages import XTREME
from viaduct.report.evidence import Claim, Evidence, Finding, Rule, UndecidedError, require_real
from viaduct.results.record import About
from viaduct.results.xtreme import INTERMEDIATES, TARGETS

XLMR_LARGE = "xlm-roberta-large"
_SHAPE = {"layers": "24", "width": "1,024", "vocabulary": "250,002"}


def is_xlmr_large(about: About) -> bool | None:
    """Whether the encoder is XLM-R large, by its name and its shape; None when these do not settle it (a folder of
    another name may hold it)."""
    names = {about.encoder, about.encoder_details.get("name", "")}
    named = any(name.replace("--", "/").rpartition("/")[2].lower() == XLMR_LARGE for name in names)
    shape = {name: value for name, value in about.encoder_details.items() if name in _SHAPE}
    if any(value != _SHAPE[name] for name, value in shape.items()):
        return False
    return True if named else None


def encoder(evidence: Evidence) -> Finding:
    """C01."""
    about = evidence.about
    facts = ", ".join(f"{name} {value}" for name, value in about.encoder_details.items() if name in _SHAPE)
    words = about.encoder + (f" ({facts})" if facts else "")
    large = is_xlmr_large(about)
    if large is None:
        raise UndecidedError(f"this run starts from {words}, which may or may not be XLM-R large")
    return Finding("supported" if large else "contradicted", f"this run starts from {words}")


def targets(evidence: Evidence) -> Finding:
    """C02."""
    cards = [evidence.card(name) for name in TARGETS]
    lacking = [card.name for card in cards if card.name not in evidence.about.tasks]
    if lacking:
        count = len(TARGETS) - len(lacking)
        return Finding("contradicted", f"this recipe has {count} of the nine targets, not {', '.join(lacking)}")
    return Finding("supported", f"the recipe's targets are {', '.join(evidence.about.tasks)}")


def languages(evidence: Evidence) -> Finding:
    """C03."""
    by_task = {name: evidence.card(name).languages for name in TARGETS}
    union = {code for codes in by_task.values() for code in codes}
    counts = ", ".join(f"{name} {len(codes)}" for name, codes in by_task.items())
    words = f"{len(union)} languages over the nine cards ({counts})"
    return Finding("supported" if union == set(XTREME) and len(union) == 40 else "contradicted", words)


def untrained_retrieval(evidence: Evidence) -> Finding:
    """C09."""
    reasons = []
    for card in (evidence.card("bucc"), evidence.card("tatoeba")):
        if card.trained_on is not None:
            reasons.append(f"{card.name} is trained on {card.trained_on}")
        if any("train" in source.splits for source in card.sources):
            reasons.append(f"the card of {card.name} has a train split")
        trained = sorted({row.selection for row in evidence.rows if row.task == card.name} - {"untrained"})
        if trained:
            reasons.append(f"results of {card.name} come from training ({', '.join(trained)})")
    if reasons:
        return Finding("contradicted", "; ".join(reasons))
    return Finding("supported", "neither card has a train split, and no result comes from training on one")


def kinds(evidence: Evidence) -> Finding:
    """C15."""
    found: dict[str, list[str]] = {}
    for name in INTERMEDIATES:
        found.setdefault(evidence.card(name).kind, []).append(name)
    words = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in sorted(found.items()))
    whole = {"span", "tagged", "pair", "choice"} <= found.keys()
    return Finding("supported" if whole else "contradicted", f"kinds of the nine cards: {words}")


def _rows(claimed: int, *choices: tuple[str, ...]) -> Rule:
    """The rule of so many English training rows found, of the first choice of tasks that is there."""

    def rule(evidence: Evidence) -> Finding:
        require_real(evidence)
        found = {
            note.task: note.found
            for note in reversed(evidence.about.data)
            if (note.split, note.language) == ("train", "en") and note.found
        }
        names = next((names for names in choices if found.keys() >= set(names)), None)
        if names is None:
            raise UndecidedError("the training files are not all among this run's data")
        total = sum(found[name] for name in names)
        parts = " + ".join(f"{name} {found[name]:,}" for name in names)
        return Finding("supported" if total == claimed else "contradicted", f"{total:,} rows found ({parts})")

    return rule


def _card(name: str, kind: str, *words: str) -> Rule:
    """The rule of a card that is of this kind and speaks of these words."""

    def rule(evidence: Evidence) -> Finding:
        card = evidence.card(name)
        text = f"{card.title} {card.citation} {card.differs}".lower()
        lacking = [word for word in words if word not in text]
        if card.kind != kind:
            return Finding("contradicted", f"the card of {name} is of kind '{card.kind}'")
        if lacking:
            raise UndecidedError(f"the card of {name} is of kind '{kind}' and does not speak of {', '.join(lacking)}")
        return Finding("supported", f"the card of {name} is of kind '{kind}' and names {' and '.join(words)}")

    return rule


def phases(evidence: Evidence) -> Finding:
    """C20: masked-LM pretraining (here, or by XLM-R's makers), an intermediate stage, a target stage."""
    about = evidence.about
    arms = [arm for arm in about.arms if any(name == arm or name.startswith(f"{arm}: ") for name in about.settings)]
    ends = [name for name in about.settings if name.startswith("target ")]
    if not arms or not ends:
        raise UndecidedError("this recipe has no intermediate stage, or no target")
    if "pretrain" in about.settings:
        begin = "this recipe pretrains its encoder by masked LM"
    elif XLMR_LARGE.removesuffix("-large") in f"{about.encoder} {about.encoder_details.get('name', '')}".lower():
        begin = f"{about.encoder} was pretrained by masked LM by its makers"
    else:
        raise UndecidedError(f"how {about.encoder} was pretrained is not recorded")
    return Finding("supported", f"{begin}; then intermediate stages ({', '.join(arms)}); then {len(ends)} targets")


_CARDS = "cards"

CLAIMS = (
    Claim("C01", "Experiments start from XLM-R large", "the recipe's encoder", encoder, kind="setup"),
    Claim("C02", "There are nine XTREME target tasks", "the recipe's targets", targets, _CARDS, "setup"),
    Claim(
        "C03", "Transfer is zero-shot, into up to 40 languages", _CARDS, languages, _CARDS, "setup", "arXiv 2003.11080"
    ),
    Claim(
        "C09",
        "BUCC and Tatoeba are evaluated without training data of their own",
        "no train split on the cards, no training behind the results",
        untrained_retrieval,
        _CARDS,
        "setup",
    ),
    Claim(
        "C15",
        "The nine intermediate tasks are question answering, tagging, classification of sentences and their completion",
        "the cards' kinds",
        kinds,
        _CARDS,
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
        "C18",
        "SQuAD v2.0 asks for spans of Wikipedia text",
        "the card",
        _card("squad2", "span", "wikipedia"),
        _CARDS,
        "setup",
    ),
    Claim(
        "C19",
        "HellaSwag asks how video captions and WikiHow texts go on",
        "the card",
        _card("hellaswag", "choice", "video", "wikihow"),
        _CARDS,
        "setup",
    ),
    Claim(
        "C20",
        "There are three phases: masked-LM pretraining, intermediate training, target evaluation",
        "the recipe's chain",
        phases,
        kind="setup",
    ),
)
