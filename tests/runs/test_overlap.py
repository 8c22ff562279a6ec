"""Training rows that are evaluation rows too: found under any tokenisation, with counts checked by brute force."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import pytest
import small_world
from hypothesis import given
from hypothesis import strategies as st
from small_world import census

from viaduct import api
from viaduct.errors import DataError
from viaduct.results.store import Store
from viaduct.rows import Answer, Choice, Pair, Row, Sentence, Span, Tagged
from viaduct.runs import collect
from viaduct.runs.collect import load_run
from viaduct.runs.execute import Options
from viaduct.runs.overlap import Overlap, blocking, said
from viaduct.runs.planned import warnings
from viaduct.runs.row_comparison import _Comparison, _Training, overlaps
from viaduct.runs.rows import text_key
from viaduct.runs.spec import Intermediate, Recipe, Replay, Substitution, Target, Training
from viaduct.runs.validate import repeated
from viaduct.tasks.catalogue import Catalogue


def recipe(**changes: Any) -> Recipe:
    arms = (Intermediate(name="none"), Intermediate(name="quiz", tasks=("quiz",)))
    fields: dict[str, Any] = {"encoder": "mini", "intermediates": arms, "targets": (Target(task="fruit"),)}
    return small_world.recipe(**{**fields, **changes})


def change(world: Path, name: str, lines: dict[int, str]) -> None:
    """Replace these lines of a file of the small world."""
    path = world / name
    content = path.read_text(encoding="utf-8").splitlines()
    for number, line in lines.items():
        content[number] = line
    path.write_text("".join(f"{line}\n" for line in content), encoding="utf-8")


def test_a_clean_recipe_has_no_overlap(world: Path) -> None:
    assert overlaps(recipe(), census(world)) == ()


def test_rows_are_found_in_every_language_that_is_evaluated(world: Path) -> None:
    change(world, "fruit/test-de.tsv", {5: "5\tEN train, 3 !\tSecond 7\tno", 6: "6\ten train 3\tsecond 8\tno"})
    change(world, "fruit/dev-en.tsv", {0: "0\tde test 10\tsecond 20\tyes", 1: "1\tde test 10\tsecond 20\tno"})
    dev, train = sorted(overlaps(recipe(), census(world)), key=lambda one: one.split)
    assert (train.task, train.split, train.target, train.target_split, train.language) == (
        "fruit", "train", "fruit", "test", "de",
    )  # fmt: skip
    assert (train.evaluated, train.of_evaluated) == (1, 40)
    assert train.arms == ("none", "quiz")
    assert (dev.split, dev.evaluated, dev.of_evaluated) == ("dev", 1, 40)
    assert "rows of fruit train are also in fruit test: de 1 of 40" in said((train, dev))


def test_an_intermediate_task_concerns_every_target_and_its_own_arm_only(world: Path) -> None:
    change(world, "berry/test-en.tsv", {0: "0\ten train 0\tsecond 1\tno"})
    targets = (Target(task="berry", languages=("en",)), Target(task="quiz"))
    arms = (Intermediate(name="none"), Intermediate(name="fruit-first", tasks=("fruit",)))
    (found,) = overlaps(recipe(targets=targets, intermediates=arms), census(world))
    assert (found.task, found.target, found.arms) == ("fruit", "berry", ("none", "fruit-first"))
    change(world, "quiz/test-en.tsv", {0: "0\ten train 0 second 1\twhich?\ttrain"})
    assert overlaps(recipe(targets=(Target(task="quiz"),), intermediates=arms), census(world)) == ()
    change(world, "quiz/test-en.tsv", {0: "0\ten  context 3 of TRAIN\tother?\tcontext"})
    targets = (Target(task="quiz", languages=("en",)), Target(task="fruit"))
    (found,) = overlaps(recipe(targets=targets), census(world))
    assert (found.task, found.target, found.evaluated) == ("quiz", "quiz", 1)


def test_rows_of_every_training_language_are_compared_with_their_own_language_and_its_translations(world: Path) -> None:
    arms = (
        Intermediate(name="none"),
        Intermediate(name="english", tasks=("quiz",)),
        Intermediate(name="both", tasks=("quiz",), languages=("en", "de")),
        Intermediate(name="german", tasks=("quiz",), languages=("de",)),
    )
    asked = recipe(intermediates=arms, targets=(Target(task="fruit"),))
    change(world, "fruit/test-de.tsv", {5: "5\tDE context 1\tof train\tno", 6: "6\ten context 1 of train\t.\tno"})
    change(world, "fruit/test-sw.tsv", {5: "5\tde context 1\tof train\tno"})
    change(world, "quiz/train-de.tsv", {4: "4\tde context 1\twhich?\tcontext", 9: "9\tof train\twhich?\ttrain"})
    assert overlaps(asked, census(world)) == ()
    pairs = recipe(
        intermediates=tuple(arm.model_copy(update={"tasks": ("berry",)} if arm.tasks else {}) for arm in arms),
        targets=(Target(task="fruit"),),
    )
    change(world, "berry/train-de.tsv", {4: "4\tde context 1\tof train\tyes", 9: "9\tx\ty\tno"})
    change(world, "berry/train-en.tsv", {7: "7\ten context 1 of train\t.\tyes"})
    english, german, swahili = overlaps(pairs, census(world))
    assert (english.spoken, english.language, english.arms) == ("en", "de", ("english", "both"))
    assert (german.spoken, german.language, german.arms) == ("de", "de", ("both", "german"))
    assert (german.evaluated, german.of_evaluated) == (1, 40)
    assert (swahili.spoken, swahili.language, swahili.arms) == ("de", "sw", ("both", "german"))
    assert said((english, german, swahili)) == (
        "rows of berry train are also in fruit test: de 1 of 40",
        "rows of berry train de are also in fruit test: de 1 of 40, sw 1 in translation of 40",
    )
    assert blocking((english, german), pairs, Catalogue.builtin()) == (english, german)


def test_an_arm_without_english_is_not_said_to_train_on_english_rows(world: Path) -> None:
    arms = (Intermediate(name="none"), Intermediate(name="german", tasks=("fruit",), languages=("de",)))
    change(world, "berry/test-de.tsv", {0: "0\ten train 0\tsecond 1\tno", 1: "1\ten dev 0\tsecond 1\tno"})
    berry = recipe(intermediates=arms, targets=(Target(task="twins"), Target(task="berry", languages=("de",))))
    found = overlaps(berry, census(world))
    assert {(one.split, one.spoken) for one in found} == {("train", "en"), ("dev", "en")}, "berry is trained on fruit"
    change(world, "twins/test-de.tsv", {5: "5\tde 5\ten train 3second 6"})
    assert [one.target for one in overlaps(berry, census(world))] == ["berry", "berry"]


def test_retrieval_has_intermediate_tasks_only(world: Path) -> None:
    assert overlaps(recipe(targets=(Target(task="twins"),)), census(world)) == ()


def test_a_substitution_is_applied_first(world: Path) -> None:
    swapped = Substitution(task="fruit", split="train", use_task="berry", use_split="test", why="no train")
    targets = (Target(task="berry", languages=("en",)),)
    (found,) = overlaps(recipe(targets=targets, substitutions=(swapped,)), census(world))
    assert (found.evaluated, found.of_evaluated) == (40, 40)
    halves = (
        swapped.model_copy(update={"part": (0.0, 0.5)}),
        Substitution(task="berry", split="test", use_split="test", part=(0.5, 1.0), why="the other half"),
    )
    assert overlaps(recipe(targets=targets, substitutions=halves), census(world)) == ()


def test_what_publishers_left_in_both_files_is_said_and_does_not_block(world: Path) -> None:
    change(world, "fruit/test-de.tsv", {5: "5\ten train 3\tsecond 7\tno", 6: "6\ten dev 3\tsecond 7\tno"})
    change(world, "fruit/test-sw.tsv", {5: "5\ten train 3\tsecond 7\tno"})
    found = overlaps(recipe(), census(world))
    assert blocking(found, recipe(), Catalogue.builtin()) == ()
    assert said(found) == (
        "rows of fruit train are also in fruit test: de 1 of 40, sw 1 of 40",
        "rows of fruit dev are also in fruit test: de 1 of 40",
    )


LONG = (
    "A sentence of some length, which says in {} words what the weather was like on Tuesday, and why nobody minded it;"
    " the wind had turned to the east, and the ferry was late again."
)


def test_nearly_the_same_rows_are_counted_apart(world: Path) -> None:
    change(world, "fruit/test-de.tsv", {5: f"5\t{LONG.format('few')}\tsecond\tno", 6: f"6\t{LONG.format('no')}\tx\tno"})
    change(world, "fruit/train-en.tsv", {0: f"0\tsecond\t{LONG.format('few').upper()}\tno"})
    (found,) = overlaps(recipe(), census(world))
    assert (found.evaluated, found.near, found.translated) == (1, 1, 0)
    assert said((found,)) == ("rows of fruit train are also in fruit test: de 1 + 1 nearly the same of 40",)
    change(world, "fruit/test-de.tsv", {5: "5\tde\tsecond\tno"})
    (found,) = overlaps(recipe(), census(world))
    assert (found.evaluated, found.near) == (0, 1)
    assert not blocking((found,), recipe(), Catalogue.builtin()), "published so"


def test_translations_of_a_row_that_is_trained_on_are_counted(world: Path) -> None:
    change(world, "fruit/test-en.tsv", {5: "5\ten train 3\tsecond 7\tyes"})
    english, german, swahili = overlaps(recipe(), census(world))
    assert (english.evaluated, english.translated) == (1, 0)
    assert [(one.language, one.evaluated, one.translated) for one in (german, swahili)] == [("de", 0, 1), ("sw", 0, 1)]
    assert said((german,)) == ("rows of fruit train are also in fruit test: de 1 in translation of 40",)
    labels = {at: f"{at}\tde {at}\tsecond {at}\tyes" for at in range(40)}
    change(world, "fruit/test-de.tsv", labels)
    assert [one.language for one in overlaps(recipe(), census(world))] == ["en", "sw"], "other labels: no translation"


def test_text_of_replay_and_pretraining_is_compared_line_by_line(world: Path) -> None:
    change(world, "quiz/test-de.tsv", {5: "5\tde line 3\twhich?\tline", 6: "6\tde line 30\twhich?\tline"})
    change(world, "twins/test-de.tsv", {5: "5\tDE line 3.\tenglish"})
    arms = (
        Intermediate(name="none"),
        Intermediate(
            name="replay", replay=Replay(text=("prose",), lines=20, languages=("de",)), training=Training(max_steps=1)
        ),
    )
    targets = (Target(task="quiz"), Target(task="twins"))
    asked = recipe(intermediates=arms, targets=targets)
    found = overlaps(asked, census(world))
    assert said(found) == (
        "rows of prose train (first 20 lines) are also in quiz test: de 1 of 40",
        "rows of prose train (first 20 lines) are also in twins test: de 1 of 73",
    )
    assert {one.arms for one in found} == {("replay",)} and not blocking(found, asked, Catalogue.builtin())
    pretrained = recipe(encoder=small_world.recipe().encoder, targets=targets)
    found = overlaps(pretrained, census(world))
    assert [(one.target, one.evaluated, one.arms) for one in found] == [
        ("quiz", 2, ("none", "quiz")), ("twins", 1, ("none", "quiz")),
    ]  # fmt: skip
    assert not blocking(found, pretrained, Catalogue.builtin())
    given = Substitution(task="prose", split="train", use_split="test", why="no other text")
    assert blocking(found, pretrained.model_copy(update={"substitutions": (given,)}), Catalogue.builtin()) == found


def test_what_a_card_of_the_users_brings_in_blocks(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change(world, "fruit/test-de.tsv", {5: "5\ten train 3\tsecond 7\tno"})
    (found,) = overlaps(recipe(), census(world))
    known = Catalogue.builtin()
    assert blocking((found,), recipe(), known) == ()
    monkeypatch.setattr(Catalogue, "builtin", classmethod(lambda cls: cls(one for one in known if one.name != "fruit")))
    assert blocking((found,), recipe(), known) == (found,)


def test_what_chooses_on_the_rows_that_are_scored_is_marked(world: Path) -> None:
    mined = recipe(targets=(Target(task="mine", split="dev"), Target(task="fruit", split="dev", languages=("en",))))
    planned = api.plan(
        mined.model_copy(update={"encoder": small_world.recipe().encoder}), data=world, store=world / "s"
    )
    told = warnings(planned)
    rule = "these scores are too high, and decide no claim"
    scored = "a threshold and a layer for mine dev is chosen on rows of mine dev de that are also scored (de 72 of 72)"
    assert f"note: {scored}: {rule}" in told
    assert any(
        "a checkpoint for fruit dev is chosen on rows of fruit dev that are also scored (en 40 of 40)" in one
        for one in told
    )
    record = collect.run_record(planned, command="", versions={})
    assert all(cell.chosen_on_scored for cell in record.cells) and record.leaks == ()
    last = Training(evaluations=0)
    unchosen = recipe(
        targets=(Target(task="mine"), Target(task="fruit", split="dev", languages=("en",), training=last)),
        intermediates=(Intermediate(name="none"),),
        encoder=small_world.recipe().encoder,
    )
    change(world, "mine/dev-de.tsv", {at: f"{at}\tother {at}\tdifferent {at}" for at in range(40)})
    record = collect.run_record(api.plan(unchosen, data=world, store=world / "s"), command="", versions={})
    assert not any(cell.chosen_on_scored for cell in record.cells)


def test_an_intermediate_task_and_an_overlapping_division_block(world: Path) -> None:
    arms = (Intermediate(name="none"), Intermediate(name="berry", tasks=("berry",)))
    change(world, "fruit/test-sw.tsv", {5: "5\ten train 3\tsecond 6\tno"})
    both = recipe(intermediates=arms, targets=(Target(task="fruit"),))
    change(world, "berry/train-en.tsv", {0: "0\ten train 3\tsecond 6\tno"})
    (found,) = blocking(overlaps(both, census(world)), both, Catalogue.builtin())
    assert (found.task, found.target, found.language) == ("berry", "fruit", "sw")
    same = Substitution(task="fruit", split="train", use_split="test", part=(0.0, 0.6), why="no train")
    divided = recipe(substitutions=(same,))
    found = blocking(overlaps(divided, census(world)), divided, Catalogue.builtin())
    assert {(one.task, one.split) for one in found} == {("fruit", "train")}


def test_a_run_stops_before_it_trains_on_what_it_evaluates_and_goes_on_when_told_to(world: Path) -> None:
    change(world, "twins/test-de.tsv", {5: "5\tde 5\tcontext 3 of train"})
    change(world, "quiz/train-en.tsv", {0: "0\tcontext 3 of train\twhich?\tcontext"})
    stopped = recipe(targets=(Target(task="twins"),), seeds=(1,), encoder=small_world.recipe().encoder)
    options = Options(device="cpu", threads=1)
    store = world / "store"
    with pytest.raises(DataError, match=r"rows of quiz train are also in twins test: de 1 of") as error:
        api.run(stopped, data=world, store=store, options=options)
    assert "--allow-overlap" in str(error.value) and not (store / "mini").exists()
    generated = stopped.model_copy(update={"miniature": True})
    assert api.plan(generated, data=world, store=store).overlaps == (), "no evidence, and so not looked for"
    api.run(stopped, data=world, store=store, options=options, allow_overlap=True)
    kept = load_run(store / "runs" / "small")
    (leak,) = kept.leaks
    assert leak.startswith("rows of quiz train are also in twins test") and leak not in kept.remarks
    assert collect.about(Store(store), kept).leaks == kept.leaks
    assert f"note: stops a run without --allow-overlap: {leak}" in warnings(api.plan(stopped, data=world, store=store))


def test_a_task_that_is_also_a_targets_is_said(world: Path) -> None:
    arms = (Intermediate(name="none"), Intermediate(name="first", tasks=("fruit", "quiz")))
    both = recipe(intermediates=arms, targets=(Target(task="fruit"), Target(task="berry"), Target(task="twins")))
    assert repeated(both, census(world)) == (
        "fruit is an intermediate task (first), and fruit, berry are trained on it too: "
        "there it is more of the same, not another task",
    )
    assert repeated(recipe(), census(world)) == ()


def test_what_was_compared_is_remembered_until_a_file_changes(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = tmp_path / "cache" / "overlap.json"
    change(world, "fruit/test-de.tsv", {5: "5\ten train 3\tsecond 7\tno"})
    first = overlaps(recipe(), census(world), memory=memory)
    looked_at: set[str] = set()
    read = _Comparison._rows
    monkeypatch.setattr(_Comparison, "_rows", lambda self, need: looked_at.add(need[2]) or read(self, need))
    assert overlaps(recipe(), census(world), memory=memory) == first
    assert not looked_at
    change(world, "fruit/test-sw.tsv", {5: "5\ten train 3\tsecond 7\tno"})
    assert [one.language for one in overlaps(recipe(), census(world), memory=memory)] == ["de", "sw"]
    assert looked_at == {"en", "sw"}
    memory.write_text("[damaged", encoding="utf-8")
    assert len(overlaps(recipe(), census(world), memory=memory)) == 2


SAME: list[tuple[Row, Row]] = [
    (Pair("1", "en", "Tea , please .", "It 's hot !", "a"), Pair("2", "en", "tea, please", "It's HOT", None)),
    (Pair("1", "en", "one", "two", "0"), Pair("2", "en", "two", "one", "1")),
    (Tagged("1", "en", ("New", "York", "'s"), None), Tagged("2", "en", ("New York", "'s"), ("A", "B"))),
    (Tagged("1", "en", ("Tea", "boils", "."), None), Sentence("2", "de", "Tea boils.")),
    (Span("1", "en", "A Tay.", "Where?", ()), Span("2", "en", "A  Tay", "When?", (Answer("Tay", 2),))),
    (Choice("1", "en", "c", "", ("x", "y"), 0), Choice("2", "en", "C", "", ("X.", "y"), None)),
    (Sentence("1", "fr", "cafe\u0301"), Sentence("2", "fr", "CAF\u00c9")),
]
OTHER: list[tuple[Row, Row]] = [
    (Pair("1", "en", "ab", "c", "a"), Pair("2", "en", "a", "bc", "a")),
    (Sentence("1", "en", "..."), Sentence("2", "en", "!")),
    (Sentence("1", "en", "\U0001f60a"), Sentence("2", "en", "\U0001f375")),
    (Span("1", "en", "a b", "q", ()), Span("2", "en", "a c", "q", ())),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_tokenisation_case_order_and_labels_do_not_count(one: Row, other: Row) -> None:
    assert text_key(one) == text_key(other)


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_other_texts_are_other_keys(one: Row, other: Row) -> None:
    assert text_key(one) != text_key(other)


words = st.text(string.ascii_letters + " .,", min_size=1, max_size=4)


@given(st.lists(words, min_size=1, max_size=12), st.lists(words, min_size=1, max_size=12))
def test_counts_are_those_of_every_pair_of_rows(ours: list[str], theirs: list[str]) -> None:
    def plain(text: str) -> str:
        return "".join(letter for letter in text.lower() if letter.isalpha()) or text

    trained: tuple[Row, ...] = tuple(Sentence(f"t{at}", "en", text) for at, text in enumerate(ours))
    evaluated: tuple[Row, ...] = tuple(Sentence(f"e{at}", "en", text) for at, text in enumerate(theirs))
    comparison = _Comparison(recipe(encoder="mini"), census(Path()), None)
    comparison._rows = lambda need: trained if need[1] == "train" else evaluated  # type: ignore[method-assign]
    found = comparison._compare(_Training(("mnli", "train", "en")), ("xnli", "test", "en"))
    hits = [other for other in theirs if any(plain(one) == plain(other) for one in ours)]
    if not hits:
        assert found is None
        return
    assert isinstance(found, Overlap)
    assert (found.evaluated, found.of_evaluated) == (len(hits), len(theirs))


def test_real_squad_dev_holds_the_paragraphs_of_xquad(shared_data: Path) -> None:
    stand_in = [
        Substitution(task="squad2", split=split, use_split="dev", part=part, why="train is not there")
        for split, part in (("train", (0.0, 0.9)), ("dev", (0.9, 1.0)))
    ]
    without = [
        Substitution(task="squad", split=split, use_split="dev", part=part, without_contexts_of="xquad", why="the same")
        for split, part in (("train", (0.0, 0.9)), ("dev", (0.9, 1.0)))
    ]
    arms = (Intermediate(name="none"), Intermediate(name="squad2", tasks=("squad2",)))
    targets = (Target(task="xquad", languages=("en", "de")),)
    found = overlaps(
        recipe(intermediates=arms, targets=targets, substitutions=(*stand_in, *without)), census(shared_data)
    )
    assert {(one.task, one.language, one.arms) for one in found} == {
        ("squad2", code, ("squad2",)) for code in ("en", "de")
    }
    same = {(one.split, one.language): (one.evaluated, one.near, one.translated) for one in found}
    assert same["train", "en"][0] + same["dev", "en"][0] == 825
    assert same["train", "de"] == (0, 0, same["train", "en"][0] + same["train", "en"][1]), "the same rows, translated"


SQUAD_DEV = tuple(
    Substitution(task="squad", split=split, use_split="dev", part=part, why="train is not there")
    for split, part in (("train", (0.0, 1.0)), ("dev", (0.95, 1.0)))
)


def test_the_classic_leak_stops_the_run(shared_data: Path, tmp_path: Path) -> None:
    leaking = recipe(
        encoder=small_world.recipe().encoder.model_copy(update={"text": ("text",), "languages": ("sw",)}),
        intermediates=(Intermediate(name="none"),),
        targets=(Target(task="xquad", languages=("en", "de")),),
        substitutions=SQUAD_DEV,
        seeds=(1,),
    )
    with pytest.raises(DataError, match="trains on rows that it evaluates on") as error:
        api.run(leaking, data=shared_data, store=tmp_path / "store", options=Options(device="cpu", threads=1))
    line = "rows of squad train are also in xquad test: en 1,190 of 1,190, de 1,190 in translation of 1,190"
    assert line in str(error.value)
    planned = api.plan(leaking, data=shared_data, store=tmp_path / "store")
    record = collect.run_record(planned, command="", versions={})
    assert record.leaks == (line,)
    assert not any(cell.chosen_on_scored for cell in record.cells), "SQuAD's own dev set may choose, as in XTREME"
    assert any(f"note: stops a run without --allow-overlap: {line}" == one for one in warnings(planned))


def test_only_stand_ins_of_splits_that_are_read_are_told(world: Path) -> None:
    read = Substitution(task="mine", split="test", use_split="dev", why="no test rows")
    unread = Substitution(task="fruit", split="train", use_split="dev", why="no training rows")
    asked = recipe(
        targets=(Target(task="mine"),),
        intermediates=(Intermediate(name="none"),),
        encoder=small_world.recipe().encoder,
        substitutions=(read, unread),
    )
    told = warnings(api.plan(asked, data=world, store=world / "s"))
    assert f"note: {read.words()}" in told and f"note: {unread.words()}" not in told
