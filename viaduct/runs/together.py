"""What a joint stage trains on, resolved: the languages whose files are there, and everything it reads."""

from __future__ import annotations

from viaduct.runs.census import Census
from viaduct.runs.check import there
from viaduct.runs.rows import Need, concerning
from viaduct.runs.spec import Intermediate, Mixture, Recipe
from viaduct.runs.stage import JointWork


def joint_work(arm: Intermediate, seed: int, recipe: Recipe, census: Census) -> tuple[JointWork, list[Need]]:
    """The arm's work with this seed, and the (task, split, language) that it reads."""
    captions, replay = arm.captions, arm.replay
    tasks = [(name, "train", code) for name in arm.tasks for code in arm.languages]
    needs = tasks + [(name, "dev", "en") for name in arm.tasks]
    captioned: tuple[str, ...] = ()
    if captions is not None:
        captioned, _ = there((captions.card,), captions.languages, ("train", "dev"), recipe, census)
        needs += [(captions.card, split, code) for split in ("train", "dev") for code in captioned]
    replayed: tuple[str, ...] = ()
    if replay is not None:
        replayed, _ = there(replay.text, replay.languages, ("train",), recipe, census)
    texts = [(name, "train", code) for name in replay.text for code in replayed] if replay is not None else []
    needs += [need for need in texts if census.problem(*need, labelled=False) is None]
    work = JointWork(
        tasks=arm.tasks,
        languages=arm.languages,
        mixture=arm.together or Mixture(),
        captions=captions,
        caption_languages=captioned,
        replay=replay,
        replay_languages=replayed,
        retention=arm.retention,
        training=arm.training,
        seed=seed,
        substitutions=tuple(
            one
            for name in dict.fromkeys((*arm.tasks, *((captions.card,) if captions else ())))
            for one in concerning(recipe.substitutions, name, ("train", "dev"))
        ),
    )
    return work, needs
