"""The order in which a run works on its stages."""

from __future__ import annotations

from pathlib import Path

from small_world import census, expand, recipe

from viaduct.runs.keep import peak
from viaduct.runs.plan import Plan
from viaduct.runs.spec import Intermediate, Training
from viaduct.runs.stage import Stage

NONE = Intermediate(name="none")
TWO = ((1, "a"), (2, "b"))


def paths(plan: Plan) -> list[str]:
    return [stage.path for stage in plan.stages]


def test_what_decides_has_its_turn_first_and_seed_by_seed(world: Path) -> None:
    arms = (NONE, Intermediate(name="quiz", tasks=("quiz",)), Intermediate(name="more", tasks=("quiz", "fruit")))
    asked = recipe(intermediates=arms, deciding=(("more", "none", "berry"), ("quiz", "none", "twins")))
    plan = expand(asked, census(world))
    turns = [stage.path for stage in plan.in_turn(paths(plan))]
    assert sorted(turns) == sorted(paths(plan)) and turns != paths(plan)
    seen: set[str] = set()
    for stage in plan.in_turn(paths(plan)):
        assert seen.issuperset(one.path for one in stage.inputs.values()), "inputs come first"
        seen.add(stage.path)
    scores = [path.removeprefix("mini/") for path in turns if path.endswith("/score")]
    assert scores[:4] == [f"{arm}/berry/seed-{seed}/score" for seed in (1, 2) for arm in ("none", "more")]
    assert scores[4:7] == ["none/twins/score", "quiz/twins/seed-1/score", "quiz/twins/seed-2/score"]
    assert scores[7:] == [
        path.removeprefix("mini/") for path in paths(plan) if path.removeprefix("mini/") in scores[7:]
    ]


def test_a_score_that_is_done_hurries_nothing(world: Path) -> None:
    arms = (NONE, *(Intermediate(name=name, tasks=("quiz",), training=Training(epochs=at)) for at, name in TWO))
    asked = recipe(intermediates=arms, deciding=(("a", "none", "berry"), ("b", "none", "berry")))
    plan = expand(asked, census(world))
    waiting = {path for path in paths(plan) if path not in {f"mini/a/berry/seed-{seed}/score" for seed in (1, 2)}}
    turns = [path.removeprefix("mini/") for path in (stage.path for stage in plan.in_turn(waiting))]
    assert sorted(f"mini/{path}" for path in turns) == sorted(waiting)
    assert turns.index("b/berry/seed-2/score") < min(at for at, path in enumerate(turns) if path.startswith("a/"))


def test_without_a_deciding_comparison_stages_have_their_turn_as_they_stand(world: Path) -> None:
    plan = expand(recipe(), census(world))
    assert [stage.path for stage in plan.in_turn(paths(plan))] == paths(plan)


def test_the_forecast_of_disk_follows_the_turns(world: Path) -> None:
    arms = [Intermediate(name=name, tasks=("quiz",), training=Training(epochs=at)) for at, name in enumerate("abc", 1)]
    plan = expand(recipe(intermediates=(NONE, *arms), deciding=(("b", "c", "twins"),)), census(world))
    sizes = {stage.path: 1 for stage in plan.stages if stage.path.endswith("/train")}

    def most(turns: list[Stage]) -> int:
        """The most models present at once, counted after each stage: those already made that a later stage takes."""
        paths = [stage.path for stage in turns]
        takers = [(one.path, stage.path) for stage in turns for one in stage.inputs.values()]
        last = {path: max([paths.index(by) for taken, by in takers if taken == path], default=0) for path in sizes}
        return max(sum(paths.index(path) <= at <= last[path] for path in sizes) for at in range(len(turns)))

    turns = plan.in_turn(paths(plan))
    assert peak(turns, sizes, "needed") == most(turns) != most(list(plan.stages))
    assert peak(plan.stages, sizes, "needed") == most(list(plan.stages))
