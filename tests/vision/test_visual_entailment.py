"""Visual entailment: the join of SNLI and Flickr8k, SNLI-VE's own format, arms that differ in the premise only."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from in_parts import assert_parts_have_the_same_losses
from joint_stages import TRAINING, assert_broken_off_it_gives_the_same_bytes, contexts
from PIL import Image

from viaduct.errors import DataError, UsageError
from viaduct.rows import Row
from viaduct.runs.census import Census
from viaduct.runs.description import roles
from viaduct.runs.plan import outline
from viaduct.runs.recipes import load_recipe
from viaduct.runs.rows import RecipeData
from viaduct.runs.spec import Intermediate, Recipe, Target
from viaduct.tasks.card import Task, read, sources
from viaduct.tasks.catalogue import Catalogue
from viaduct.tasks.folder import DataFolder
from viaduct.training.joint_training import JointTraining
from viaduct.vision import section
from viaduct.vision.cards import flickr8k, snli_ve
from viaduct.vision.fields import Captions
from viaduct.vision.labelling import LabelMember
from viaduct.vision.pictured import SHOWN, PicturedTask
from viaduct.vision.records import ImageUse, StageImages
from viaduct.vision.rows import Picture, Pictured

PREMISES = tuple(SHOWN)
GOLDEN = ("dev-66", "3184031654", "contradiction")
"""Id, photograph and label of the first row that is evaluated."""
LABELS = ("no", "yes")
COLOURS = ("red", "blue")
WORDS = tiny.LANGUAGES["en"]


def judged(folder: Path, split: str, count: int, decides: str) -> list[Row]:
    """Texts whose label is the colour of the image, or the first word of the premise; all else is drawn at random."""
    random = torch.Generator().manual_seed(len(split))
    rows: list[Row] = []
    for at in range(count):
        colour, word, other, label = torch.randint(0, 2, (4,), generator=random).tolist()
        colour, word = (label, word) if decides == "image" else (colour, label)
        path = folder / f"{split}-{at // 2}.png"
        if at % 2 and decides == "image":  # two texts of one image
            label = LABELS.index(str(rows[-1].gold))
        else:
            image = Image.new("RGB", (16, 16), COLOURS[colour])
            image.paste("green", (at % 7, at % 5, 8 + at % 3, 14))
            image.save(path)
        premise, text = f"{WORDS[word]} {WORDS[2 + other]}", f"{WORDS[4 + at % 3]} {WORDS[8 + other]}"
        rows.append(Pictured(f"{split}-{at}", "en", path.stem, Picture(str(path)), premise, text, LABELS[label]))
    return rows


@pytest.fixture
def make(tmp_path: Path, tiny_tokenizer: Any) -> Any:
    """A function from a stage's work to its context."""
    known = {}
    for decides in ("image", "text"):
        (tmp_path / decides).mkdir()
        for split, count in (("train", 96), ("dev", 60)):
            known[f"by-{decides}", split, "en"] = judged(tmp_path / decides, split, count, decides)
    cards = [tiny.card("pictured", LABELS, f"by-{decides}") for decides in ("image", "text")]
    return contexts(tmp_path, tiny_tokenizer, known, cards)


def seen(premise: str, card: str = "by-image", **settings: Any) -> dict[str, Any]:
    return {"pictured": PicturedTask(card=card, premise=premise, null_share=0.0, **settings)}  # type: ignore[arg-type]


def member_of(stage: JointTraining) -> LabelMember:
    (member,) = stage.added
    assert isinstance(member, LabelMember)
    return member


def test_arms_have_the_same_rows_in_the_same_order_labels_and_steps(make: Any) -> None:
    ids: dict[str, list[list[str]]] = {}
    golds, heads = {}, {}
    for premise in PREMISES:
        context = make(premise, **seen(premise))
        stage = JointTraining(context, context.work)
        member = member_of(stage)
        batches = [stage.batch_at(step).main for step in range(stage.schedule.steps)]
        weights = [member.weight(member.batch(own)) for own in range(member.order.end(0))]
        assert sum(weights) == pytest.approx(len(weights)), "each text has the same share of an epoch"
        ids[premise] = [[member.train.data.captions[at].id for at in batch.text.examples] for batch in batches]
        golds[premise] = [member.train.gold[batch.text.examples].tolist() for batch in batches]
        heads[premise] = stage.model.head["label"].state_dict()
    assert len(ids["text"]) == TRAINING.max_steps and len({id for step in ids["text"] for id in step}) > 20
    for premise in PREMISES:
        assert ids[premise] == ids["text"] and golds[premise] == golds["text"]
        assert all(torch.equal(heads[premise][name], tensor) for name, tensor in heads["text"].items())


def test_batches_in_parts_have_the_same_losses(make: Any) -> None:
    asked = {"pictured": seen("image")["pictured"].model_copy(update={"null_share": 0.3})}
    assert_parts_have_the_same_losses(lambda name: make(name, **asked))


def test_each_arm_sees_its_premise_and_nothing_else(make: Any, tiny_tokenizer: Any) -> None:
    for premise in PREMISES:
        context = make(premise, **seen(premise))
        stage = JointTraining(context, context.work)
        member = member_of(stage)
        rows = {row.id: row for row in context.load("by-image", "train", "en").rows}
        features, wrong = member.train.features, defaultdict(set)
        for step in range(4):
            batch = stage.batch_at(step).main
            for at, example in enumerate(batch.text.examples):
                row = rows[member.train.data.captions[example].id]
                words = tiny_tokenizer.decode(batch.text.ids_BL[at], skip_special_tokens=True).split()
                expected = row.text.split()
                assert words == ([*row.premise.split(), *expected] if premise in ("text", "both") else expected)
                if batch.patches_BPV is not None:
                    shown = batch.patches_BPV[at].numpy()
                    own = (features.tokens([row.photo])[0] == shown).all()
                    assert own == (premise in ("image", "both")), premise
                    wrong[row.photo].add(shown.tobytes())
            assert (batch.patches_BPV is None) == (premise not in ("image", "both", "wrong_image"))
            assert (batch.visual > 0) == (SHOWN[premise] != "none")
        assert all(len(found) == 1 for found in wrong.values()), "always the same image for a photograph"


def test_without_a_premise_neither_its_words_nor_its_image_change_anything(make: Any) -> None:
    """A stage that is shown no premise is the same to the last bit, whatever the premises are."""
    outcomes = []
    for name in ("as they are", "others"):
        context = make(name.replace(" ", "-"), **seen("none"))
        if name == "others":
            loaded = context.load

            def swapped(*need: str, loaded: Any = loaded) -> Any:
                found = loaded(*need)
                rows = [
                    Pictured(row.id, row.language, other.photo, other.image, other.premise, row.text, row.label)
                    for row, other in zip(found.rows, reversed(found.rows), strict=True)
                ]
                return type(found)(tuple(rows), None)

            object.__setattr__(context, "load", swapped)
        stage = JointTraining(context, context.work)
        batch = stage.batch_at(0).main
        torch.manual_seed(0)
        with torch.no_grad():
            view = member_of(stage).loss(stage.model, batch)
        assert "prefix" not in stage.model.head
        outcomes.append((batch.text.ids_BL.tolist(), float(view)))
    assert outcomes[0] == outcomes[1]


LONGER = TRAINING.model_copy(update={"max_steps": 40, "evaluations": 1, "learning_rate": 4e-3, "batch_tokens": 800})


def test_only_arms_that_are_shown_what_decides_the_label_find_it(make: Any) -> None:
    found, uses = {}, []
    for decides, premise in (
        *(("image", one) for one in ("text", "image", "wrong_image")),
        ("text", "both"),
        ("text", "none"),
    ):
        context = make(f"{decides}-{premise}", training=LONGER, **seen(premise, f"by-{decides}"))
        tiny.run(context)
        use = ImageUse.model_validate_json((context.directory / "images.json").read_text())
        found[decides, premise] = {score.metric: score.value for score in use.scores}
        uses.append(StageImages(arm=f"{decides} {premise}", seed=1, use=use))
    accuracy = {key: scores["accuracy"] for key, scores in found.items()}
    wins = {("image", "image"), ("text", "both")}
    assert all(accuracy[key] > 0.9 for key in wins), accuracy
    assert all(value < 0.72 for key, value in accuracy.items() if key not in wins), accuracy
    right, wrong, none = (found["image", "image"][f"accuracy_{shown}_image"] for shown in ("true", "wrong", "null"))
    assert right == accuracy["image", "image"] and wrong < 0.72 and none < 0.72
    assert set(found["image", "text"]) == {"accuracy"}
    said = section.images_of(uses)
    assert said is not None
    assert {line.arm: line.used for line in said.lines} == {
        "image text": None, "image image": True, "image wrong_image": False, "text both": False, "text none": None,
    }  # fmt: skip
    assert "image image used the image: a wrong one costs" in said.verdict[0] and "nats per label" in said.verdict[0]


def test_broken_off_it_gives_the_same_bytes(make: Any) -> None:
    assert_broken_off_it_gives_the_same_bytes(make, seen("both"), "images.json", "visual.safetensors")


def test_the_second_text_keeps_its_type_behind_an_image(tmp_path: Path, tiny_tokenizer: Any) -> None:
    """In encoders with token types, a pair gets the same types with and without an image before it."""
    known = {("by-image", split, "en"): judged(tmp_path, split, 12, "image") for split in ("train", "dev")}
    card = tiny.card("pictured", LABELS, "by-image")
    context = contexts(tmp_path, tiny.typed_tokenizer(tiny_tokenizer), known, (card,))("a", **seen("both"))
    stage = JointTraining(context, context.work)
    stage.model.encoder.config.model_type = "bert"
    batch, given = stage.batch_at(0).main, []
    stage.model.encoder.register_forward_pre_hook(
        lambda _m, _a, inputs: given.append(inputs["token_type_ids"]), with_kwargs=True
    )
    stage.model.encoder.embeddings.token_type_embeddings = torch.nn.Embedding(2, 32)
    with torch.no_grad():
        member_of(stage).loss(stage.model, batch)
    assert not given[0][:, : batch.visual].any()
    assert torch.equal(given[0][:, batch.visual :], batch.text.types_BL) and bool(batch.text.types_BL.any())


def put(data: Path, name: str, *lines: str) -> Path:
    path = data / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def rows(card: Task, data: Path, split: str) -> list[Pictured]:
    return [row for row in read(card, data, "en", split).rows if isinstance(row, Pictured)]


def row_of(**fields: Any) -> str:
    known = {"gold_label": "neutral", "Flickr30K_ID": "7", "pairID": "7.jpg#2r1n", "captionID": "7.jpg#2"}
    return json.dumps({**known, "sentence1": "A kite flies .", "sentence2": "It is windy .", **fields})


def test_snli_ve_in_its_own_form(tmp_path: Path) -> None:
    put(tmp_path, "snli_ve/snli_ve_dev.jsonl", row_of(), row_of(pairID="7.jpg#2r1c", gold_label="contradiction"))
    image = put(tmp_path, "flickr30k/flickr30k-images/7.jpg")
    first, second = rows(snli_ve.CARD, tmp_path, "dev")
    assert first == Pictured("7.jpg#2r1n", "en", "7", Picture(str(image)), "A kite flies .", "It is windy .", "neutral")
    assert (second.gold, second.texts, second.group) == ("contradiction", ("A kite flies .", "It is windy ."), "7")
    assert snli_ve.CARD.expected == {("en", "train"): 529_527, ("en", "dev"): 17_858, ("en", "test"): 17_901}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"gold_label": "neutrl"}, r"line 1: unknown label 'neutrl'.*Did you mean 'neutral'"),
        ({"Flickr30K_ID": "../7"}, r"line 1: Flickr30K_ID is '../7', not the number"),
        ({"sentence2": " "}, r"line 1: the caption is empty"),
    ],
)
def test_a_damaged_row_is_named(tmp_path: Path, fields: dict[str, str], said: str) -> None:
    path = put(tmp_path, "snli_ve/snli_ve_dev.jsonl", row_of(**fields))
    with pytest.raises(DataError, match=rf"{re.escape(str(path))}, {said}"):
        rows(snli_ve.CARD, tmp_path, "dev")


def small_join(data: Path) -> None:
    """Two photographs in the training list, one outside; a caption that both kinds share; SNLI's rows tokenised."""
    put(data, flickr8k.LISTS.format(split="train"), "2_b.jpg", "3_c.jpg")
    put(
        data,
        "flickr8k/captions/Flickr8k.en.token.txt",
        "1_a.jpg#0\tA man's kite.",
        "1_a.jpg#1\tA dog runs .",
        "3_c.jpg#0\tA dog runs .",
        "2_b.jpg#0\tA dog runs",
        "2_b.jpg#1\tTwo boats .",
    )
    for part in ("dev", "test"):
        put(data, f"snli/infersent_format/s1.{part}", "A man 's kite . ", "A dog runs . ", "Nobody . ", "two BOATS")
        put(data, f"snli/infersent_format/s2.{part}", "One .", "Two .", "Three .", "Four .")
        put(data, f"snli/infersent_format/labels.{part}", "neutral", "entailment", "neutral", "contradiction")


def test_the_join_takes_a_caption_of_several_photographs_once_and_never_to_both_sides(tmp_path: Path) -> None:
    small_join(tmp_path)
    train, dev = (rows(snli_ve.JOINED, tmp_path, split) for split in ("train", "dev"))
    assert [(row.id, row.photo, row.text) for row in train] == [
        ("dev-1", "2", "Two ."), ("dev-3", "2", "Four ."), ("test-1", "2", "Two ."), ("test-3", "2", "Four ."),
    ]  # fmt: skip
    assert [(row.id, row.photo, row.premise, row.label) for row in dev] == [
        ("dev-0", "1", "A man 's kite .", "neutral"), ("test-0", "1", "A man 's kite .", "neutral"),
    ]  # fmt: skip
    assert all(row.image is None for row in (*train, *dev)), "no folder of photographs"


def real(data: Path) -> dict[str, list[Pictured]]:
    if not (data / "flickr8k/captions").is_dir():
        pytest.skip("no joined captions of Flickr8k")
    return {split: rows(snli_ve.JOINED, data, split) for split in ("train", "dev")}


def test_the_real_join_has_the_counted_rows_and_its_golden_ones(shared_data: Path) -> None:
    found = real(shared_data)
    for split, own in found.items():
        assert len(own) == snli_ve.JOINED.expected["en", split]
    assert sum(map(len, found.values())) == 4_566
    photos = {split: {row.photo for row in own} for split, own in found.items()}
    assert not photos["train"] & photos["dev"]
    assert all(row.image is not None and Path(row.image.path).is_file() for own in found.values() for row in own)
    first = found["dev"][0]
    line = int(first.id.removeprefix("dev-"))
    for name, said in (("s1", first.premise), ("s2", first.text), ("labels", first.label)):
        lines = (shared_data / f"snli/infersent_format/{name}.dev").read_text(encoding="utf-8").split("\n")
        assert lines[line].strip() == said
    assert (first.id, first.photo, first.label) == GOLDEN


def spoken(text: str) -> str:
    """Letters and digits in lower case, everything else as one blank; written independently of the reader."""
    return " ".join("".join(one if one.isalnum() else " " for one in text.lower()).split())


def test_every_real_premise_is_a_caption_of_its_photograph_that_no_caption_arm_trains_on(shared_data: Path) -> None:
    found = real(shared_data)
    captions = defaultdict(set)
    text = (shared_data / "flickr8k/captions/Flickr8k.en.token.txt").read_text(encoding="utf-8")
    for key, caption in (line.split("\t") for line in text.split("\n") if line):
        captions[key.partition("_")[0]].add(spoken(caption))
    assert all(spoken(row.premise or "") in captions[row.photo] for own in found.values() for row in own)
    joined = flickr8k.JOINED
    trained = {row.id for code in joined.languages for row in read(joined, shared_data, code, "train").rows}
    assert len(trained) == 6_000 and not trained & {row.photo for row in found["dev"]}


def test_the_recipe_matches_its_arms_and_evaluates_photographs_that_none_of_them_trains_on() -> None:
    made: Any = load_recipe("multimodal_e5")
    assert {arm.training.max_steps for arm in made.intermediates[1:]} == {120} and len(made.deciding) <= 5
    captions = {arm.name: arm.captions for arm in made.intermediates if arm.captions is not None}
    for objective in ("contrastive", "ar_caption", "mlm_caption"):
        own = {
            name.removeprefix(objective): one for name, one in captions.items() if one.objectives[0].name == objective
        }
        assert {"", "_shuffled_caption", "_shuffled_image", "_null_image", "_text_only"} <= own.keys()
        controls = [own[name] for name in own if name in ("", "_shuffled_caption", "_shuffled_image", "_null_image")]
        same = {one.model_copy(update={"image": "true"}) for one in controls}
        assert len(same) == 1 and len({one.image for one in controls}) == 4
    assert {one.card for one in captions.values()} == {"flickr8k_joined", "emoji", "storybooks"}, "see the test above"
    tasks = [arm.pictured for arm in made.intermediates if arm.pictured is not None]
    assert {one.premise for one in tasks} == {"text", "image", "both", "none", "wrong_image"}
    assert len({one.model_copy(update={"premise": "text"}) for one in tasks}) == 1
    assert {"contrastive", "contrastive_text_only", "caption", "caption_text_only"} <= set(roles(made).values())


def planned(data: Path, arm: Intermediate, *cards: Task) -> Any:
    recipe = Recipe(
        name="small",
        hypothesis="none",
        encoder="no-such-folder",
        revision="0" * 40,
        intermediates=(Intermediate(name="none"), arm),
        targets=(Target(task="tatoeba"),),
    )
    return outline(recipe, Census(RecipeData(DataFolder(data, Catalogue((*Catalogue.builtin(), *cards))))))


def test_plan_says_what_is_missing_and_refuses_what_does_not_go_together(tmp_path: Path) -> None:
    task = PicturedTask(card="visual_entailment", premise="both")
    missing = planned(tmp_path, Intermediate(name="ve", pictured=task)).missing
    assert any(gap.what == "visual_entailment" and "split train" in gap.why for gap in missing)
    with pytest.raises(UsageError, match=r"arm 've': pictured.*flickr8k"):
        planned(tmp_path, Intermediate(name="ve", pictured=PicturedTask(card="flickr8k")))
    with pytest.raises(UsageError, match="has both `captions` and `pictured`"):
        planned(tmp_path, Intermediate(name="ve", pictured=task, captions=Captions(card="flickr8k")))
    away = task.model_copy(update={"tower": str(tmp_path / "away")})
    (gap,) = (one for one in planned(tmp_path, Intermediate(name="ve", pictured=away)).missing if "tower" in one.what)
    assert gap.why.startswith("no such folder; a model of the Hub needs a tower_revision")
    small_join(tmp_path)
    found = planned(tmp_path, Intermediate(name="ve", pictured=task)).missing
    assert not any(gap.what.startswith("visual_entailment") for gap in found)


def questions(folder: Path, split: str) -> list[Row]:
    return [
        Pictured(row.id, "en", row.photo, row.image, None, f"{WORDS[3]}?", row.label)
        for row in judged(folder, split, 12, "image")
        if isinstance(row, Pictured)
    ]


def test_questions_about_pictures_go_the_same_way_and_have_no_premise_to_read(
    tmp_path: Path, tiny_tokenizer: Any
) -> None:
    known = {("asked", split, "en"): questions(tmp_path, split) for split in ("train", "dev")}
    card = replace(
        tiny.card("pictured", LABELS, "asked"),
        sources=sources("official", lambda files, _code, split: questions(tmp_path, split), "{split}.txt"),
    )
    context = contexts(tmp_path, tiny_tokenizer, known, (card,))("a", **seen("image", "asked"))
    tiny.run(context)
    use = ImageUse.model_validate_json((context.directory / "images.json").read_text())
    assert len(use.losses) == 12 and use.objectives == ("label (premise: image)",)
    for split in ("train", "dev"):
        put(tmp_path, f"{split}.txt", "rows are made above")
    arms = [Intermediate(name="a", **seen(premise, "asked")) for premise in ("image", "both")]
    found = [[gap for gap in planned(tmp_path, arm, card).missing if "asked" in gap.what] for arm in arms]
    assert found[0] == [] and [gap.what for gap in found[1]] == ["asked train", "asked dev"]
    assert found[1][0].why == '12 of 12 rows do not say in words what the image shows, but the premise is "both"'
