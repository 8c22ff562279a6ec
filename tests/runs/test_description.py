"""The roles of arms in the claims under test: an arm has a role only if it does exactly what the role says."""

from __future__ import annotations

import pytest

from viaduct.report.claims import roles as known_roles
from viaduct.results.xtreme import INTERMEDIATES
from viaduct.runs.description import role_of, roles
from viaduct.runs.spec import Intermediate, Mixture, Recipe, Replay, Retention, Target
from viaduct.vision.fields import Captions, Objective

RECIPE = Recipe(name="r", hypothesis="none", encoder="x", targets=(Target(task="xnli"),))
CONTRASTIVE = (Objective(name="contrastive"),)


def captions(**changes: object) -> Captions:
    return Captions(card="emoji", **changes)


@pytest.mark.parametrize(
    ("fields", "role"),
    [
        ({}, "none"),
        ({"tasks": ("mnli",)}, "mnli"),
        ({"tasks": ("mnli",), "replay": Replay()}, "mnli+replay"),
        ({"tasks": ("mnli",), "languages": ("de", "ru", "sw")}, "mnli_translated"),
        ({"tasks": INTERMEDIATES, "together": Mixture()}, "all_nine"),
        ({"tasks": ("anli", "mnli", "snli"), "together": Mixture(cap=None)}, "anli_plus"),
        ({"replay": Replay()}, "replay"),
        ({"captions": captions()}, "caption"),
        ({"captions": captions(), "replay": Replay(), "retention": Retention(kl=1.0)}, "caption"),
        ({"captions": captions(image="none")}, "caption_text_only"),
        ({"captions": captions(image="shuffled_image")}, "caption_shuffled_image"),
        ({"captions": captions(image="null")}, "caption_null_image"),
        ({"captions": captions(objectives=CONTRASTIVE)}, "contrastive"),
        ({"captions": captions(objectives=CONTRASTIVE, image="text")}, "contrastive_text_only"),
        ({"captions": captions(objectives=CONTRASTIVE), "tasks": ("mnli",)}, "contrastive+mnli"),
    ],
)
def test_an_arm_is_what_it_trains_on(fields: dict[str, object], role: str) -> None:
    assert role_of(Intermediate(name="whatever", **fields), RECIPE) == role
    assert role in known_roles()


@pytest.mark.parametrize(
    "fields",
    [
        {"tasks": ("ccg_pmb",)},
        {"tasks": ("mnli", "squad")},
        {"tasks": INTERMEDIATES},
        {"tasks": INTERMEDIATES[:8], "together": Mixture()},
        {"tasks": INTERMEDIATES, "together": Mixture(), "replay": Replay()},
        {"tasks": ("anli", "mnli", "snli"), "together": Mixture(sampling="uniform")},
        {"tasks": ("mnli",), "languages": ("en", "de")},
        {"tasks": ("mnli",), "languages": ("de",), "replay": Replay()},
        {"tasks": ("mnli",), "retention": Retention(lora_rank=4)},
        {"captions": captions(image="noise")},
        {"captions": captions(objectives=(*CONTRASTIVE, Objective(name="itm")))},
        {"captions": captions(objectives=(*CONTRASTIVE, Objective(name="ar_caption")))},
        {"captions": captions(image="null"), "tasks": ("mnli",)},
    ],
)
def test_what_no_role_says_has_none(fields: dict[str, object]) -> None:
    assert role_of(Intermediate(name="whatever", **fields), RECIPE) is None


def test_a_role_is_the_first_arms_that_has_it() -> None:
    arms = (Intermediate(name="none"), Intermediate(name="a", tasks=("mnli",)), Intermediate(name="b", tasks=("mnli",)))
    assert roles(RECIPE.model_copy(update={"intermediates": arms})) == {"none": "none", "a": "mnli"}
