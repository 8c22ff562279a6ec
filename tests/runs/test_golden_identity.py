"""The identities of a small recipe with every kind of stage, from before fields and kinds came from rooms.

Finished stages in old stores are found by these identities: if one changes, such stages become foreign. Versions of
code and of row kinds are left out, since raising one is meant to do that.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from small_world import add_cards, census, expand, recipe

from viaduct.rows import Row
from viaduct.runs.identity import fingerprint_of, identities
from viaduct.runs.spec import Intermediate, Mixture, Recipe, Replay, Retention, Retrieval, Substitution, Target
from viaduct.runs.stage import kind_of
from viaduct.serving.compression import Compression
from viaduct.serving.distil import Distil
from viaduct.serving.measure import Measure
from viaduct.tasks.card import Files, Source, Task
from viaduct.vision.fields import Captions
from viaduct.vision.rows import Captioned

DIGESTS = """
    mini/pretrain b4c1444d7161
    mini/none/fruit/seed-1/train 95cac57d33a3
    mini/none/fruit/seed-1/predict d0a5f124c9ac
    mini/none/fruit/seed-1/score 6265e4851920
    mini/none/quiz/seed-1/train 1f61bedc0c2d
    mini/none/quiz/seed-1/predict 5551e06a5665
    mini/none/quiz/seed-1/score 9d7eb9cd3a71
    mini/none/twins/predict 8f2716612c9e
    mini/none/twins/score 199843bd8623
    mini/none/mine/predict 5508b42eeb68
    mini/none/mine/score de6bb84223f1
    mini/chain/intermediate-2-fruit/seed-1/train 8dba73f0557b
    mini/chain/fruit/seed-1/train e0883c7bb4bb
    mini/chain/fruit/seed-1/predict 67ada7b935c9
    mini/chain/fruit/seed-1/score 671c81960062
    mini/chain/quiz/seed-1/train c5350994d419
    mini/chain/quiz/seed-1/predict 8fb1e58804e7
    mini/chain/quiz/seed-1/score bfdad30458c1
    mini/chain/twins/seed-1/predict bd967cbce657
    mini/chain/twins/seed-1/score 4f7298375866
    mini/chain/mine/seed-1/predict 7b7e9c5d4997
    mini/chain/mine/seed-1/score 59eee980f1aa
    mini/joint/intermediate/seed-1/joint 11cb97594029
    mini/joint/fruit/seed-1/train 650c45f9ce37
    mini/joint/fruit/seed-1/predict d892a2d28083
    mini/joint/fruit/seed-1/score 98d0c4fd4551
    mini/joint/quiz/seed-1/train 5978bb979da5
    mini/joint/quiz/seed-1/predict d9fbd863d4e0
    mini/joint/quiz/seed-1/score 44879add5b3a
    mini/joint/twins/seed-1/predict a9daf5ae487b
    mini/joint/twins/seed-1/score deac0fba275c
    mini/joint/mine/seed-1/predict c5f050a1cb19
    mini/joint/mine/seed-1/score 8e1f024ea7f8
    mini/seen/intermediate/seed-1/joint d35e214f6bb8
    mini/seen/fruit/seed-1/train 1f518a5c254f
    mini/seen/fruit/seed-1/predict 2063cf001555
    mini/seen/fruit/seed-1/score c0dd0d075ef2
    mini/seen/quiz/seed-1/train 3a9d597de6d6
    mini/seen/quiz/seed-1/predict 0a08d3240140
    mini/seen/quiz/seed-1/score 04ba75c036cc
    mini/seen/twins/seed-1/predict 5a680b1762ab
    mini/seen/twins/seed-1/score b97bfeca699b
    mini/seen/mine/seed-1/predict 544a21ccc051
    mini/seen/mine/seed-1/score fbd1dfddca6e
    mini/small/distil/seed-1/distil e54dcd2321f3
    mini/small/seed-1/compress 7963722d53b1
    mini/small/fruit/seed-1/train ffc99067741d
    mini/small/fruit/seed-1/predict 248fdc3b265c
    mini/small/fruit/seed-1/score 25c3f1bb2a8b
    mini/small/quiz/seed-1/train d7ca96b58fc8
    mini/small/quiz/seed-1/predict 64ccea5acd79
    mini/small/quiz/seed-1/score c67336151f6a
    mini/small/twins/seed-1/predict 1a4e692c2305
    mini/small/twins/seed-1/score bc3c66e86a53
    mini/small/mine/seed-1/predict 3fbdaeecd570
    mini/small/mine/seed-1/score 72d577863678
    mini/int8/fruit/seed-1/predict 6302dd0519f2
    mini/int8/fruit/seed-1/score 442d4cde60f5
    mini/int8/quiz/seed-1/predict 141ed77ce372
    mini/int8/quiz/seed-1/score c2415f8f1915
    mini/int8/twins/predict dd66b5638db4
    mini/int8/twins/score 5273dd524620
    mini/int8/mine/predict f2b725282339
    mini/int8/mine/score eb574476b40d
    mini/measure/fruit-ed70d04a 1232c6ec3960
"""
"""Stage path -> the first digits of its fingerprint, made with paths in place of its inputs' fingerprints."""


def read_captions(files: Files, language: str, _split: str) -> Iterator[Row]:
    for line in files["rows"][0].read_text(encoding="utf-8").splitlines():
        id, caption = line.split("\t")
        yield Captioned(id, language, None, (caption,), "people")


PHOTOS = Task(
    name="photos",
    title="Photos",
    kind="captioned",
    languages=("en", "de"),
    sources=(Source("official", {"rows": "photos/{split}-{language}.tsv"}, read_captions),),
    licence="",
    citation="",
)


def everything() -> Recipe:
    half = Substitution(task="fruit", split="dev", use_split="test", part=(0.0, 0.5), why="in other words")
    without = Substitution(
        task="quiz",
        split="train",
        use_split="train",
        part=(0.2, 1.0),
        without_rows_of=("fruit",),
        without_contexts_of="quiz",
        why="in other words",
    )
    student = Compression(distil=Distil(layers=2, text=("prose",)), vocabulary=("en", "de"), text=("prose",))
    return recipe(
        intermediates=(
            Intermediate(name="none"),
            Intermediate(name="chain", tasks=("quiz", "fruit")),
            Intermediate(
                name="joint",
                tasks=("quiz", "fruit"),
                together=Mixture(),
                replay=Replay(text=("prose",)),
                retention=Retention(kl=0.5),
            ),
            Intermediate(name="seen", captions=Captions(card="photos", tower="owner/tower", tower_revision="abc")),
            Intermediate(name="small", compression=student),
            Intermediate(name="int8", compression=Compression(engine="openvino", precision="int8", text=("prose",))),
        ),
        targets=(
            Target(task="fruit"),
            Target(task="quiz"),
            Target(task="twins"),
            Target(task="mine", retrieval=Retrieval(layers=(1,))),
        ),
        seeds=(1,),
        substitutions=(half, without),
        measure=Measure(),
    )


def test_identities_are_what_they_were(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_cards(monkeypatch.setattr, [PHOTOS])
    (world / "photos").mkdir()
    for split in ("train", "dev"):
        for code in PHOTOS.languages:
            lines = (f"{number}\t{code} {split} {number}\n" for number in range(5))
            (world / "photos" / f"{split}-{code}.tsv").write_text("".join(lines), encoding="utf-8")
    data = census(world)
    plan = expand(everything(), data)
    found = identities(plan, data.data)
    digests = {}
    for stage in plan.stages:
        inputs = {role: one.path for role, one in stage.inputs.items()}
        content = {**found[stage.path].content, "code": 0, "inputs": inputs}
        content.pop("kinds", None)
        digests[stage.path] = fingerprint_of(content)[:12]
    assert digests == dict(line.split() for line in DIGESTS.split("\n") if line)
    assert {stage.work.kind for stage in plan.stages} == {
        "pretrain",
        "train",
        "joint",
        "distil",
        "compress",
        "predict",
        "score",
        "measure",
    }
    assert found["mini/none/fruit/seed-1/train"].content["code"] == kind_of("train").version
