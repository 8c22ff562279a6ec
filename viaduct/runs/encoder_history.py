"""What an encoder was trained on before it is used here, beyond plain text, so that a task it has already seen is not
taken for a first exposure.

It is what the recipe says (`encoder_saw`), else what is known about a published model by its name (`KNOWN`), plus what
the model card next to its files lists under `base_model` and `datasets`. Nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import yaml

from viaduct.errors import nearest
from viaduct.results.record import BASELINE
from viaduct.runs.chain import lineage, trained_tasks
from viaduct.runs.encoder import cached_file, encoder_name, plain_name
from viaduct.runs.parts import Pretrain, RecipeParts, Saw
from viaduct.tasks.card import Task
from viaduct.tasks.catalogue import Catalogue

FAMILIES = (
    ("mnli", "mnli_mismatched", "snli", "anli", "anli_plus", "xnli"),
    ("squad", "squad2", "xquad", "mlqa", "tydiqa"),
    ("qqp", "qqp_bimpm", "pawsx"),
    ("copa", "xcopa"),
    ("tatoeba", "bucc"),
    ("ccg", "ccg_pmb"),
    ("coco", "coco_karpathy", "flickr30k", "flickr8k", "multi30k", "multi30k_task2", "xflickrco", "xm3600"),
)
"""Groups of cards with the same task: an encoder trained on one has seen the task of the others."""

ALIASES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("nli", "multi_nli", "all_nli", "allnli"), ("mnli",)),
    **dict.fromkeys(("squad_v1", "squad_v1_1", "mr_tydi", "miracl", "tydi_qa"), ("squad",)),
    "squad_v2": ("squad2",),
    **dict.fromkeys(("quora", "quora_duplicates", "paws", "paws_x"), ("qqp",)),
    **dict.fromkeys(("translation_pairs", "nllb", "wikimatrix", "ccmatrix"), ("tatoeba",)),
    "wikiann": ("panx",),
    "universal_dependencies": ("udpos",),
    "cosmos_qa": ("cosmosqa",),
    "commonsense_qa": ("commonsenseqa",),
    "coco_captions": ("coco",),
    "flickr30k_captions": ("flickr30k",),
    "glue": ("mnli", "qqp"),
    "xtreme": ("xnli", "pawsx", "udpos", "panx", "xquad", "bucc"),
}
"""Data set names used elsewhere -> cards of the same task. MIRACL and Mr. TyDi are made from TyDi QA."""

_E5 = "ms_marco nq triviaqa squad nli eli5 nllb dureader fever hotpotqa quora mr_tydi miracl"
_M3 = "ms_marco nq hotpotqa triviaqa squad coliee pubmedqa nli dureader t2ranking nli_zh mr_tydi miracl mldr nllb"
_PARAPHRASES = "nli quora ms_marco coco_captions flickr30k_captions translation_pairs tatoeba"
_BY_NAME = "its name"
KNOWN = (
    ("*multilingual-e5-*", _E5, "arXiv 2402.05672, tables 1 and 2"),
    ("bge-m3*", _M3, "arXiv 2402.03216, and the data set Shitao/bge-m3-data"),
    ("paraphrase-multilingual-*", _PARAPHRASES, "sbert.net, Paraphrase Data; arXiv 2004.09813"),
    ("distiluse-base-multilingual-*", "snli translation_pairs tatoeba", "arXiv 1907.04307 and 2004.09813"),
    ("labse*", "translation_pairs", "arXiv 2007.01852"),
    ("*mlm-tlm-xnli*", "translation_pairs", "arXiv 1901.07291"),
    ("*infoxlm*", "translation_pairs", "arXiv 2007.07834"),
    *((f"*{word}*", "xnli mnli", _BY_NAME) for word in ("xnli", "multilingual-nli")),
    *((f"*{word}*", word, _BY_NAME) for word in ("mnli", "snli", "xquad", "tydiqa", "pawsx", "wikiann", "panx", "qqp")),
    *((f"*{word}*", "squad2", _BY_NAME) for word in ("squad2", "squad-2", "squad_v2", "squad-v2", "squadv2")),
    ("*squad*", "squad", _BY_NAME),
    ("clip-*-xlm-roberta-*-laion5b-*", "laion5b", "its model card"),
    ("xlm-roberta-large-vit-*", "translation_pairs cc3m cc12m sbu", "FreddeFrallan/Multilingual-CLIP, larger_mclip.md"),
    ("xlm-roberta-base", "", "arXiv 1911.02116"),
    ("xlm-roberta-large", "", "arXiv 1911.02116"),
    ("xlm-mlm-*", "", "arXiv 1901.07291"),
    ("bert-base-multilingual-*", "", "arXiv 1810.04805 and its model card"),
    ("distilbert-base-multilingual-cased", "", "its model card"),
    ("multilingual-minilm-*", "", "arXiv 2002.10957"),
    ("mdeberta-v3-base", "", "arXiv 2111.09543"),
    ("rembert", "", "arXiv 2010.12821"),
)
"""(pattern of the last part of a model's name in lower case, the data, the source); the first match counts. No data:
plain text only."""

KNOWN_DATA = frozenset(name for _, data, _ in KNOWN for name in data.split())


class History(NamedTuple):
    """What an encoder has seen."""

    encoder: str
    saw: Saw | None
    """None: unknown."""
    touched: Mapping[str, str]
    """Card -> the seen data of the same task; cards of tasks that were not seen are left out."""
    cards: tuple[str, ...] = ()
    """Names of all cards."""
    arms: Mapping[str, History] = MappingProxyType({})
    """Arm -> the history of the encoder that it starts from, for arms with their own encoder."""

    @property
    def words(self) -> str:
        """The history in words, for the table of facts about the encoder."""
        if self.saw is None:
            return "unknown"
        return f"{', '.join(self.saw.data) or 'plain text only'} ({self.saw.source})"


def history(recipe: RecipeParts, catalogue: Catalogue) -> History:
    """The history of the recipe's encoder and of its arms' own; an encoder made here has seen nothing."""
    saw, cards = recipe.encoder_saw, tuple(card.name for card in catalogue)
    if isinstance(recipe.encoder, Pretrain):
        saw = Saw(data=(), source="made by this recipe")
    elif saw is None:
        saw = _found(recipe.encoder, recipe.revision)
    arms = {}
    for arm in recipe.intermediates:
        first = lineage(arm, recipe)[0]
        if first.encoder is not None:
            own = first.encoder_saw or _found(first.encoder, first.revision)
            arms[arm.name] = _history(plain_name(first.encoder), own, catalogue)
    return _history(encoder_name(recipe).removesuffix(recipe.mark), saw, catalogue)._replace(cards=cards, arms=arms)


def _history(name: str, saw: Saw | None, catalogue: Catalogue) -> History:
    return History(name, saw, {} if saw is None else _touched(saw.data, catalogue))


def seen_before(recipe: RecipeParts, past: History) -> tuple[dict[str, str], dict[str, str]]:
    """(target -> data, arm -> data) for those that are not the encoder's first exposure to their task."""
    tasks = {target.task: past.touched[target.task] for target in recipe.targets if target.task in past.touched}
    arms: dict[str, str] = {}
    for arm in recipe.intermediates:
        touched = past.arms.get(arm.name, past).touched
        tasks_before = trained_tasks(arm, recipe)
        arms[arm.name] = ", ".join(dict.fromkeys(touched[name] for name in tasks_before if name in touched))
    return tasks, {arm: data for arm, data in arms.items() if data}


def said_of_arms(recipe: RecipeParts, past: History) -> tuple[str, ...]:
    """What a reader has to know about arms that start from their own encoders, in sentences."""
    lines = []
    for arm, own in past.arms.items():
        tasks = [target.task for target in recipe.targets if target.task in own.touched]
        begins = f"{arm} begins with {own.encoder}"
        if own.saw is None:
            lines.append(f"{begins}, and what that was trained on is not known (the arm can state it: encoder_saw)")
        elif tasks:
            lines.append(f"{begins}, already trained on {own.words}: not a first exposure for {', '.join(tasks)}")
    trained = [arm.name for arm in recipe.intermediates if arm.encoder is not None and arm.parent is not None]
    if trained:
        lines.append(
            f"the encoders of {', '.join(trained)} were trained by others, once each: seeds vary only what is trained"
            " here, and there is no stage of as many steps with wrong pictures, with text alone or with another seed to"
            " compare them with; a difference is that of a published encoder, whatever its cause"
        )
    return tuple(lines)


def said_of_history(recipe: RecipeParts, past: History) -> tuple[str, ...]:
    """What a reader of this recipe's results has to know about its encoder's past, in sentences."""
    strange = _unknown_data(recipe, past)
    if past.saw is None:
        unknown = f"what {past.encoder} was trained on before this run is not known"
        return (
            *strange,
            f"{unknown} (a recipe can state it: encoder_saw), so no arm is certain to be a first exposure",
        )
    tasks, arms = seen_before(recipe, past)
    if not tasks and not arms:
        return strange
    named = [", ".join(tasks), f"the arm{'s' * (len(arms) > 1)} {', '.join(arms)}" if arms else ""]
    what = " and ".join(filter(None, named))
    data = ", ".join(dict.fromkeys(name for seen in (*tasks.values(), *arms.values()) for name in seen.split(", ")))
    return (
        *strange,
        f"{past.encoder} had already been trained on {data} ({past.saw.source}), so this is not a first exposure to the"
        f" task for {what}: no claim is decided there, and '{BASELINE}' is not a baseline without the task",
    )


def _unknown_data(recipe: RecipeParts, past: History) -> tuple[str, ...]:
    """Sentences about unknown names in the recipe itself: a misspelt one would silently mark nothing."""
    known = {*ALIASES, *KNOWN_DATA, *past.cards}
    told = (recipe.encoder_saw, *(arm.encoder_saw for arm in recipe.intermediates))
    given = [name for saw in told if saw is not None for name in saw.data if _plain(name) not in known]
    return tuple(
        f"encoder_saw: {name} is neither the name of a card nor a data set known here, so it marks no task"
        + (f" (did you mean {close}?)" if (close := nearest(_plain(name), known)) else "")
        for name in given
    )


def _found(encoder: str, revision: str | None) -> Saw | None:
    """What the name and the model card say was seen; None if neither says anything."""
    found = [one for one in (_by_name(Path(encoder).name), _by_card(encoder, revision)) if one is not None]
    if not found:
        return None
    data = tuple(dict.fromkeys(name for one in found for name in one.data))
    return Saw(data=data, source="; ".join(dict.fromkeys(one.source for one in found)))


def _by_name(name: str) -> Saw | None:
    last = name.lower().rpartition("--")[2]  # also for "owner--name", as a folder may be called
    for pattern, data, source in KNOWN:
        if fnmatchcase(last, pattern):
            return Saw(data=tuple(data.split()), source=source)
    return None


def _by_card(encoder: str, revision: str | None) -> Saw | None:
    """What the model card next to the encoder's files says."""
    front = _front_matter(cached_file(encoder, revision, "README.md"))
    data = tuple(map(_plain, _texts(front.get("datasets"))))
    bases = [one for name in _texts(front.get("base_model")) if (one := _by_name(Path(name).name)) is not None]
    if not data and not bases:
        return None
    sources = ["its model card", *(one.source for one in bases)]
    return Saw(
        data=tuple(dict.fromkeys((*data, *(name for one in bases for name in one.data)))), source="; ".join(sources)
    )


def licence_of(encoder: str, revision: str | None) -> str | None:
    """The licence stated by the model card next to the encoder's files; None if there is none."""
    return ", ".join(_texts(_front_matter(cached_file(encoder, revision, "README.md")).get("license"))) or None


def _front_matter(path: Path | None) -> Mapping[str, Any]:
    """The front matter of a model card, between two lines "---" at its start; {} if there is none or it is not YAML."""
    text = path.read_text(encoding="utf-8", errors="replace") if path is not None and path.is_file() else ""
    first, *rest = text.split("\n---", 1)
    if not first.startswith("---") or not rest:
        return {}
    try:
        found = yaml.safe_load(first.removeprefix("---"))
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _texts(value: object) -> list[str]:
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]


def _plain(name: str) -> str:
    """A data set's name without its owner: "nyu-mll/multi_nli" is "multi_nli"."""
    return name.rpartition("/")[2].lower().replace("-", "_").replace(".", "_")


def _touched(data: Iterable[str], catalogue: Catalogue) -> dict[str, str]:
    """Card -> the first of the data sets that have its task."""
    found: dict[str, str] = {}
    for name in data:
        cards = ALIASES.get(_plain(name), (_plain(name),))
        same = {one for card in cards for family in ((card,), *FAMILIES) if card in family for one in family}
        for card in catalogue:
            if same & _tasks(card):
                found.setdefault(card.name, name)
    return found


def _tasks(card: Task) -> set[str]:
    """Names of the card, its parts, and the card that it is trained on."""
    return {card.name, *(part.name for part in card.parts), *filter(None, (card.trained_on,))}
