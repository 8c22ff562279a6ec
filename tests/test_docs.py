"""What the documents tell users to type works as written."""

from __future__ import annotations

import io
import json
import re
import statistics
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import tiny
import yaml
from PIL import Image
from typer.testing import CliRunner

from viaduct import api
from viaduct.cli import app
from viaduct.metrics.score import Prediction
from viaduct.models.encoder import save_encoder
from viaduct.rows import Pair
from viaduct.runs.spec import Recipe
from viaduct.tasks.card import read
from viaduct.tasks.catalogue import Catalogue, card_of_file
from viaduct.tasks.kind import row_kinds
from viaduct.tasks.mapping import Labels, file_model
from viaduct.vision.images import open_picture
from viaduct.vision.rows import Captioned

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(path.name for path in (ROOT / "docs").glob("*.md"))


def blocks(document: str, language: str) -> list[str]:
    """The document's code blocks of this language."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / document).read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def new_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with exactly the files that docs/adding_a_task.md says to write, an encoder, and some replies."""
    for name, language in (("replies.toml", "toml"), ("compare.yaml", "yaml"), ("replies.py", "python")):
        (tmp_path / name).write_text(blocks("docs/adding_a_task.md", language)[0], encoding="utf-8")
    with (tmp_path / "compare.yaml").open("a", encoding="utf-8") as recipe:
        recipe.write("measure: {round_rows: 2}\n")  # an eighth of the default
    words = tiny.tokenizer()
    save_encoder(tiny.encoder(words), words, tmp_path / "my-encoder")
    folder = tmp_path / "data" / "replies"
    folder.mkdir(parents=True)
    example = json.loads(blocks("docs/adding_a_task.md", "json")[0])
    for name, count in {"train.en": 24, "dev.en": 8, "test.en": 8, "test.de": 8, "test.sw": 8}.items():
        rows = [example | {"reply": f"{at} o'clock, {name}", "label": ("yes", "no")[at % 2]} for at in range(count)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def use_the_python_card(folder: Path) -> None:
    """Change the recipe as section 4 of the document says."""
    recipe = folder / "compare.yaml"
    recipe.write_text(recipe.read_text(encoding="utf-8").replace("replies.toml", "replies.py"), encoding="utf-8")


@pytest.mark.parametrize("file", ["replies.toml", "replies.py"])
def test_a_new_user_looks_at_a_task_of_their_own(new_user: Path, file: str) -> None:
    checked = CliRunner().invoke(app, ["check", file, "--data", "data"])
    assert checked.exit_code == 0, checked.output
    assert "no 50%, yes 50%" in checked.output or "yes 50%, no 50%" in checked.output
    assert "first     Is the market open today?" in checked.output


def test_the_mapping_and_the_card_read_the_same_rows(new_user: Path) -> None:
    rows = []
    for file in ("replies.toml", "replies.py"):
        card = Catalogue.builtin().with_files([file]).task("replies")
        rows.append([replace(row, id="") for row in read(card, new_user / "data", "sw", "test").rows])
    assert rows[0] == rows[1]


@pytest.mark.parametrize("python", [False, True], ids=["toml", "python"])
def test_a_new_user_plans_and_runs_a_task_of_their_own(new_user: Path, python: bool) -> None:
    if python:
        use_the_python_card(new_user)
    planned = CliRunner().invoke(app, ["plan", "compare.yaml", "--data", "data"])
    assert planned.exit_code == 0, planned.output
    assert "replies" in planned.output
    command = ["run", "compare.yaml", "--data", "data", "--threads", "1"]
    command += ["--set", "measure=null"] if python else []  # measuring once is enough, it takes seconds
    ran = CliRunner().invoke(app, command, catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    report = Path(ran.output.strip().splitlines()[-1].partition("report: ")[2])
    assert "replies-twice" in report.read_text(encoding="utf-8")
    assert ("Cost at inference" in report.read_text(encoding="utf-8")) != python
    if not python:
        work_in_python(report)


def work_in_python(report: Path) -> None:
    """Run the code blocks of docs/python.md, after the run that they name."""
    found: dict[str, Any] = {}
    for block in blocks("docs/python.md", "python"):
        exec(compile(block, "docs/python.md", "exec"), found)
    result, scores, costs = found["result"], found["scores"], found["costs"]
    assert result.report.resolve() == report.resolve() == found["page"].resolve()
    lines = [json.loads(line) for line in (report.parent / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    assert scores.to_dict("records") == lines
    assert set(scores.arm) == {"none", "replies-twice"} and set(scores.seed) == {1, 2} and found["missing"].empty
    mean = {
        arm: statistics.fmean(line["value"] for line in lines if line["arm"] == arm and line["language"] != "en")
        for arm in ("none", "replies-twice")
    }
    (whole,) = found["whole"].itertuples()
    assert (whole.arm, whole.against) == ("replies-twice", "none")
    assert (whole.low, whole.high, whole.verdict) == (None, None, "no verdict"), "two seeds decide nothing"
    assert whole.difference == pytest.approx(mean["replies-twice"] - mean["none"])
    assert len(costs) == len(found["planned"].plan.stages) and (costs.seconds >= 0).all()
    german = scores[(scores.arm == "none") & (scores.seed == 1) & (scores.language != "en")].value.mean()
    assert found["accuracy"] == pytest.approx(german)


def test_a_wrong_label_in_ones_own_file_is_found_by_check_and_by_plan(new_user: Path) -> None:
    path = new_user / "data" / "replies" / "test.sw.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace('"yes"', '"yess"'), encoding="utf-8")
    planned = CliRunner().invoke(app, ["plan", "compare.yaml", "--data", "data"])
    assert planned.exit_code != 0
    message = str(planned.exception) + planned.output
    assert "test.sw.jsonl, line 1" in message and "Did you mean 'yes'?" in message
    checked = CliRunner().invoke(app, ["check", "replies.toml", "--data", "data"])
    assert checked.exit_code == 1
    assert "test.sw.jsonl, line 1: column 'label': unknown label 'yess'" in checked.output


def test_every_field_of_a_mapping_is_in_the_document() -> None:
    document = (ROOT / "docs" / "adding_a_task.md").read_text(encoding="utf-8")
    whole, kinds = file_model(), row_kinds().values()
    columns = whole.model_fields["columns"].annotation
    fields = {*whole.model_fields, *getattr(columns, "model_fields"), *Labels.model_fields}  # noqa: B009  made at run time
    assert (
        sorted(name for name in fields if not re.search(rf"[`\[]{name}\b", document) and f"{name} =" not in document)
        == []
    )
    metrics = {name for kind in kinds for name in kind.metrics}
    assert sorted(name for name in metrics if f"`{name}`" not in document) == []


def test_a_name_that_is_taken_is_refused(new_user: Path) -> None:
    card = new_user / "replies.toml"
    card.write_text(card.read_text(encoding="utf-8").replace('name = "replies"', 'name = "xnli"'), encoding="utf-8")
    planned = CliRunner().invoke(app, ["plan", "compare.yaml", "--data", "data"])
    assert planned.exit_code != 0
    assert "the name 'xnli' is taken" in str(planned.exception) + planned.output


CAPTIONS: dict[str, object] = {"en": "A kite.", "sw": ["Tiara.", "Tiara nyekundu."]}


def write_tar(folder: Path, image: bytes) -> None:
    with tarfile.open(folder / "train-0.tar", "w") as archive:
        for name, content in (("kite.png", image), ("kite.json", json.dumps({"captions": CAPTIONS}).encode())):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def write_folder(folder: Path, image: bytes) -> None:
    (folder / "train").mkdir()
    (folder / "train" / "kite.png").write_bytes(image)
    record = {"file_name": "kite.png", "text": CAPTIONS}
    (folder / "train" / "metadata.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")


def write_parquet(folder: Path, image: bytes) -> None:
    columns = {"image": [{"bytes": image, "path": "kite.png"}]}
    columns |= {language: [made] for language, made in CAPTIONS.items()}  # type: ignore[dict-item]
    pyarrow.parquet.write_table(pyarrow.table(columns), folder / "train-0.parquet")


@pytest.mark.parametrize("write", [write_tar, write_folder, write_parquet])
def test_ones_own_pictures_in_each_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path, bytes], None]
) -> None:
    monkeypatch.chdir(tmp_path)
    card = next(block for block in blocks("docs/adding_a_task.md", "python") if 'name="my_pictures"' in block)
    Path("my_pictures.py").write_text(card, encoding="utf-8")
    Path("data/pictures").mkdir(parents=True)
    drawn = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(drawn, format="PNG")
    write(Path("data/pictures"), drawn.getvalue())
    checked = CliRunner().invoke(app, ["check", "my_pictures.py", "--data", "data"])
    assert checked.exit_code == 0, checked.output
    (found,) = api.check("my_pictures.py", data=Path("data"))
    assert [
        (one.language, one.rows, one.inspection and one.inspection.contents["captions"]) for one in found.holdings
    ] == [
        ("en", 1, 1),
        ("sw", 1, 2),
    ]
    read_back = read(card_of_file(Path("my_pictures.py")), Path("data"), "sw", "train").rows
    rows = [row for row in read_back if isinstance(row, Captioned)]
    assert rows[0].captions == tuple(CAPTIONS["sw"])  # type: ignore[arg-type]
    assert rows[0].image is not None and open_picture(rows[0].image).mode == "RGB"


def test_the_metric_of_ones_own_says_how_examples_came_out() -> None:
    names: dict[str, Any] = {}
    exec(next(block for block in blocks("docs/plugging_in.md", "python") if "ByExample" in block), names)
    rows = [Pair(str(number), "de", "a", "b", "iamb") for number in range(2)]
    found = names["share_right"].examine(rows, {"1": Prediction("1", "de", "iamb")})
    assert found.scores[0].value == 0.5 and found.outcomes.values == {"metre": [False, True]}


def test_the_readme_recipe_is_a_recipe() -> None:
    recipe = Recipe.model_validate(yaml.safe_load(blocks("README.md", "yaml")[0]))
    assert [arm.name for arm in recipe.intermediates] == ["none", "mnli", "squad"]


def test_the_readmes_tree_is_that_of_the_package() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("## The tree")[2]
    tree = text.partition("```\n")[2].partition("```")[0]
    named = {name for line in tree.splitlines() for name in re.findall(r"^  ((?:\w+(?:/|\.py) ?)+)", line)}
    entries = {entry for group in named for entry in group.split()}
    folders = {f"{path.name}/" for path in (ROOT / "viaduct").iterdir() if path.is_dir() and path.name[0] not in "_."}
    assert {entry for entry in entries if entry.endswith("/")} == folders
    assert all((ROOT / "viaduct" / entry).exists() for entry in entries)


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", *(f"docs/{name}" for name in DOCUMENTS)])
def test_links_and_paths_of_a_document_exist_and_its_prose_has_short_lines(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    absent = [link for link in links if not ((ROOT / document).parent / link).exists()]
    # the log refers to files as they were at the time
    paths = [] if document.endswith("log.md") else re.findall(r"`(viaduct/[\w/]+\.\w+)`", text)
    assert absent + [path for path in paths if not (ROOT / path).exists()] == []
    assert [line for line in text.splitlines() if len(line) > 120 and not re.match(r" *\||    ", line)] == []


def test_the_tour_is_an_afternoon() -> None:
    text = (ROOT / "docs" / "tour.md").read_text(encoding="utf-8")
    files = dict.fromkeys(re.findall(r"`(viaduct/[\w/]+\.py)`", text))
    lines = sum(len((ROOT / file).read_text(encoding="utf-8").splitlines()) for file in files)
    assert 20 <= len(files) <= 32 and lines <= 5_700


def test_the_reference_of_recipe_fields_is_that_of_the_models() -> None:
    from viaduct.runs.reference import reference

    assert (ROOT / "docs" / "recipe_fields.md").read_text(encoding="utf-8").strip() == reference().strip()
