"""The page as a reader gets it: self-contained, escaped, complete, and honest about what is missing."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from statistics import fmean, stdev
from xml.etree import ElementTree

import pytest
from report_page import heat_rows, main_row, outline
from report_records import TASKS, Outcomes, make_run

from viaduct.errors import DataError
from viaduct.report.page import Asked, write


def test_page_is_self_contained(whole):
    parsed = outline(whole.html)
    assert {"link", "iframe", "img"}.isdisjoint(tag for tag, _ in parsed.tags)
    assert [attrs for tag, attrs in parsed.tags if tag == "script"] == [{}], "our own, in the page"
    targets = [
        value for _, attrs in parsed.tags for key, value in attrs.items() if key in ("src", "href", "xlink:href")
    ]
    assert targets and all(target.startswith("#") or (whole.directory / target).is_file() for target in targets)
    assert re.findall(r"https?://[^\"]*", whole.html) == re.findall(r"http://www\.w3\.org/2000/svg", whole.html)
    assert "@import" not in whole.html and "url(http" not in whole.html


def test_inner_links_lead_somewhere_and_ids_are_unique_outside_marker_definitions(whole):
    parsed = outline(whole.html)
    ids = [attrs["id"] for _, attrs in parsed.tags if "id" in attrs]
    links = {attrs["href"][1:] for _, attrs in parsed.tags if (attrs.get("href") or "").startswith("#")}
    assert links <= set(ids)
    assert len(ids) == len(set(ids))


def test_template_and_style_sheet_are_in_the_package():
    folder = resources.files("viaduct.report")
    assert (folder / "page.html.j2").is_file() and (folder / "page.css").is_file()


def test_main_table_shows_percent_with_spread_and_the_difference_without_english(whole):
    values = {
        (row.arm, row.seed, row.language): row.value
        for row in whole.run.rows
        if row.task == "xnli" and row.metric == "accuracy"
    }
    codes = TASKS["xnli"][0].split()

    def mean(arm: str, among: list[str]) -> list[float]:
        return [fmean(values[arm, seed, code] for code in among) for seed in (1, 2, 3)]

    score, spread = mean("caption-contrast", codes), mean("none", codes)
    others = [code for code in codes if code != "en"]
    gain = fmean(mean("caption-contrast", others)) - fmean(mean("none", others))
    assert main_row(whole.html, "none")[1] == f"{100 * fmean(spread):.1f} ± {100 * stdev(spread):.1f}"
    shown = f"{100 * fmean(score):.1f} ± {100 * stdev(score):.1f}"
    assert re.fullmatch(re.escape(shown) + rf" ?(▲ )?\+{100 * gain:.1f}", main_row(whole.html, "caption-contrast")[1])


def test_average_is_plain_only_when_nothing_is_missing(whole, holed):
    assert "Partial average" not in whole.html
    assert "Partial average" in holed.html
    assert "▲" in main_row(holed.html, "caption-contrast")[-1], "the arms with the same languages are still compared"
    assert "incomplete" in main_row(holed.html, "snli-mnli")[-1]
    assert "<b>average, snli-mnli</b> covers only the available results; missing: panx yo, bucc" in holed.html
    score, difference = re.match(r"([\d.]+) ± [\d.]+▲ \+([\d.]+)", main_row(holed.html, "snli-mnli")[-1]).groups()
    baseline = main_row(holed.html, "none")[-1].split()[0]
    assert float(score) - float(baseline) != pytest.approx(float(difference), abs=0.06), "not of the two averages"
    assert "Left out, because the two arms do not both have complete results: bucc, panx in yo." in holed.html


def test_missing_cells_are_dashes_with_a_reason_never_zero(holed):
    row = main_row(holed.html, "snli-mnli")
    assert row[8] == "–missing: this arm has no result for this task"
    assert "partial¹" in row[4]
    assert "<b>panx, snli-mnli</b> is partial; missing: yo" in holed.html
    assert "<b>tatoeba</b> has no result in Telugu" in holed.html
    assert "35 of 36 lang." in holed.html
    assert not re.search(r">0\.0 ±", holed.html)


def test_substitutions_have_a_box_and_an_asterisk(holed, whole):
    assert "<b>Before trusting a number</b>: 2 substitutions declared" in holed.html
    assert holed.html.count("<small>dev*</small>") == 2
    assert "the published test file has no labels" in holed.html
    assert "dev*" not in whole.html and "substitutions declared" not in whole.html


@pytest.mark.usefixtures("no_heat_map_files")
def test_what_was_left_out_and_what_is_trained_and_evaluated_on_is_said_first(tmp_path, whole):
    run = make_run(tasks=("xnli", "bucc"), seeds=(1,))
    left_out = {"ccg": "ccg train: no files", "all_nine": "ccg train: no files"}
    about = run.about.model_copy(update={"left_out": left_out, "remarks": ("rows of a train are also in b",)})
    html = write(about, run.rows, run.costs, tmp_path).read_text(encoding="utf-8")
    assert "2 kinds of intermediate training were left out, because data were missing: ccg and all_nine." in html
    assert "<li><b>ccg</b> was left out: ccg train: no files.</li>" in html
    assert "<li>rows of a train are also in b.</li>" in html
    assert "2 arms left out; 1 remark</summary>" in html
    assert "Before trusting" not in whole.html and "left out, because" not in whole.html


@pytest.mark.usefixtures("no_heat_map_files")
def test_a_leak_that_was_allowed_stands_above_the_hypothesis(tmp_path):
    run = make_run(tasks=("xquad",), seeds=(1,))
    about = run.about.model_copy(update={"leaks": ("rows of squad train are also in xquad test: en 9 of 9",)})
    html = write(about, run.rows, run.costs, tmp_path).read_text(encoding="utf-8")
    assert html.index("rows of squad train are also in xquad test: en 9 of 9") < html.index("Hypothesis, stated")
    assert "--allow-overlap" in html


def test_what_the_encoder_has_seen_before_is_marked(tmp_path, whole):
    run = make_run(tasks=("xnli", "bucc"), seeds=(1,))
    arm = run.about.arms[1]
    about = run.about.model_copy(update={"seen_tasks": {"xnli": "nli"}, "seen_arms": {arm: "squad"}})
    html = write(about, run.rows, run.costs, tmp_path).read_text(encoding="utf-8")
    assert '<th scope="col">xnli†<small>' in html and '<th scope="col">bucc<small>' in html
    assert f'<th scope="row">{arm}†</th>' in html
    assert f"† <b>xnli</b>: not a first exposure. {about.encoder} had already been trained on nli, so" in html
    assert "is not a baseline without the task" in html and "†" not in whole.html


def test_only_the_generated_world_has_the_banner(single, whole):
    assert 'class="banner"' in single.html and "never evidence" in single.html
    assert 'class="banner"' not in whole.html


def test_one_seed_claims_nothing(single):
    assert "<b>Answer</b> Not answered: the data are generated" in single.html
    assert "With fewer than 3 seeds, the variation between runs is hardly known" in single.html
    body = single.html[single.html.index("<main>") :]
    assert not re.search("[▲▼±]", body)
    assert "higher" not in single.html and "lower than" not in single.html


def test_several_seeds_say_higher_or_equivalent_or_no_measurable_difference(whole):
    said = dict(re.findall(r"<li><b>([a-z-]+)</b>: (.*)</li>", whole.html))
    assert said["caption-contrast"].startswith("higher in the mean over 9 tasks (+")
    assert said["text-only"].startswith("equivalent within half a point in the mean over 9 tasks (+0.1 points, 95 %")
    assert "By task: higher on" in said["caption-contrast"] and "By task" not in said["text-only"]
    tested = dict(re.findall(r"<li><b>([a-z-]+)</b> against none: (.*)</li>", whole.html))["text-only"]
    assert re.search(r"By task: no measurable difference on xnli \(\+0\.1\), .* tatoeba \(\+0\.2\)\. In", tested)
    assert tested.endswith("In English: no measurable difference (0.0 in the mean over 7 tasks in English).")
    assert "higher" not in tested and "would be found" not in tested


@pytest.mark.usefixtures("no_heat_map_files")
@pytest.mark.parametrize(
    ("expected", "answer"),
    [
        (
            ("higher", "not higher"),
            "Borne out. Of 2 comparisons whose outcome was stated before the run: 2 confirmed",
        ),
        (("lower", ""), "Not borne out. Of 1 comparison whose outcome was stated before the run: 1 contradicted"),
        (
            ("higher", "lower"),
            "Not borne out. Of 2 comparisons whose outcome was stated before the run: 1 confirmed, ",
        ),
        ((), "The comparisons declared before the run as deciding it, and what was found:"),
    ],
)
def test_the_hypothesis_is_answered_first(expected, answer, tmp_path):
    run = make_run(arms=("none", "caption-contrast", "text-only"), tasks=("xnli", "bucc"), substituted=())
    deciding = (("caption-contrast", "none", "bucc"), ("text-only", "none"))
    about = run.about.model_copy(update={"deciding": deciding, "expected": expected})
    html = write(about, run.rows, run.costs, tmp_path, outcomes=Outcomes(run.rows)).read_text(encoding="utf-8")
    assert f"<b>Answer</b> {answer}" in html
    (line,) = re.findall(r"<li><b>caption-contrast against none on bucc</b>: (.*)</li>", html)
    before = {"higher": "expected to be higher, confirmed: ", "lower": "expected to be lower, contradicted: "}
    assert line.startswith(before.get(expected[0], "") if expected else "higher on bucc (+9.")
    assert "higher on bucc (+" in line


@pytest.mark.usefixtures("no_heat_map_files")
def test_published_numbers_stand_beside_with_what_keeps_them_apart(whole, tmp_path):
    assert "Published numbers" not in whole.html
    html = write(*whole.run, tmp_path / "whole", asked=Asked(published=True)).read_text(encoding="utf-8")
    outline(html)
    rows = dict(re.findall(r'<tr><th scope="row">(XLM-R large|mBERT)</th>(.*?)</tr>', html, flags=re.DOTALL))
    assert '<span class="value">79.2</span>' in rows["XLM-R large"] and "arXiv 2003.11080" in rows["mBERT"]
    assert "cannot be compared" not in html
    run = make_run(absent=(("*", "tatoeba", "te"),), substituted=("xnli",))
    html = write(*run, tmp_path / "holed", asked=Asked(published=True)).read_text(encoding="utf-8")
    assert "<b>xnli</b> cannot be compared with this run: another split (dev)" in html
    assert "<b>tatoeba</b> cannot be compared with this run: 1 of 36 languages missing" in html
    assert "<b>panx</b> cannot" not in html


def test_names_are_escaped_everywhere(tmp_path):
    nasty = "<script>alert(1)</script>"
    run = make_run(arms=("none", nasty, "$x^2$ lr-0.00005"), tasks=("xnli", "bucc"), seeds=(1, 2), recipe=f"r{nasty}")
    about = run.about.model_copy(update={"hypothesis": nasty, "versions": {nasty: nasty}, "settings": {"a": nasty}})
    html = write(about, run.rows, run.costs, tmp_path).read_text(encoding="utf-8")
    assert html.count("<script") == 1, "our own"
    outline(html)
    for path in (tmp_path / "tables").glob("*.md"):
        assert "<script" not in path.read_text(encoding="utf-8")
    drawings = sorted(tmp_path.glob("*.svg"))
    texts = ["".join(ElementTree.fromstring(path.read_text(encoding="utf-8")).itertext()) for path in drawings]
    assert all("<script" not in path.read_text(encoding="utf-8") for path in drawings)
    assert any("$x^2$ lr-0.00005" in text for text in texts), "neither mathematics nor rounded"
    assert {path.parent for path in tmp_path.rglob("*")} == {tmp_path, tmp_path / "tables"}, "no name makes folders"


def test_figures_are_files_and_in_the_page(whole):
    names = {path.name for path in whole.directory.glob("*.svg")}
    assert names == {
        "heat_map_1_none.svg",
        "heat_map_2_caption-contrast.svg",
        "heat_map_3_text-only.svg",
        "differences.svg",
        "transfer_gap.svg",
        "cost.svg",
        "transfer_matrix.svg",
        "transfer_by_family.svg",
        "languages.svg",
    }
    tables = {name for name in names if name.startswith(("heat_map", "transfer_matrix", "transfer_by"))}
    assert whole.html.count("<svg") == len(names - tables)
    assert whole.html.count('<table class="heat') == len(tables)
    for path in whole.directory.glob("*.svg"):
        assert "var(--" not in path.read_text(encoding="utf-8")


def test_heat_maps_are_tables_of_languages_by_family(whole, holed):
    first = heat_rows(whole.html, "none: score in percent")
    assert [name for name in first if name.startswith("Germanic")] == [
        f"Germanic: {name}" for name in ("Afrikaans af", "German de", "English en", "Dutch nl")
    ]
    assert len(first) == 40
    values = [row.value for row in whole.run.rows if (row.arm, row.task, row.language) == ("none", "xnli", "de")]
    assert first["Germanic: German de"][0] == f"{100 * sum(values) / 3:.1f}"
    assert first["Germanic: Dutch nl"][0] == "", "XNLI has no Dutch"
    gained = heat_rows(whole.html, "caption-contrast: difference from none, in points")
    others = [
        row.value for row in whole.run.rows if (row.arm, row.task, row.language) == ("caption-contrast", "xnli", "de")
    ]
    assert gained["Germanic: German de"][0] == f"{100 * (sum(others) - sum(values)) / 3:+.1f}"
    lacking = heat_rows(holed.html, "snli-mnli: difference from none, in points")
    assert lacking["Niger-Congo: Yoruba yo"][3] == "–missing: no result"
    matrix = heat_rows(whole.html, "Differences from none by intermediate and task, in points")
    assert re.fullmatch(r"\+\d\.\d\*+\+\d\.\d to \+\d\.\d", matrix["caption-contrast"][0])


def test_colours_of_cells_have_a_dark_twin(whole):
    style = whole.html[whole.html.index("<style>") : whole.html.index("</style>")]
    light, dark = style.split("@media (prefers-color-scheme: dark)")[:2]
    used = set(re.findall(r"var\(--([a-z0-9-]+)\)", whole.html))
    assert {"up", "down", "level", "ink", "paper"} <= used
    assert all(f"--{name}:" in light and f"--{name}:" in dark for name in used - {"up-text", "down-text"})


def test_figures_of_an_earlier_report_do_not_stay(tmp_path):
    write(*make_run(tasks=("bucc",), seeds=(1,)), tmp_path)
    write(*make_run(tasks=("bucc",), seeds=(1,), arms=("none",)), tmp_path)
    assert {path.name for path in tmp_path.glob("*.svg")} == {"heat_map_1_none.svg", "cost.svg"}


@pytest.mark.usefixtures("no_heat_map_files")
def test_no_file_is_empty_and_tables_of_an_earlier_report_do_not_stay(tmp_path):
    write(*make_run(tasks=("bucc",), seeds=(1, 2)), tmp_path)
    assert (tmp_path / "contrasts.csv").stat().st_size
    html = write(*make_run(tasks=("bucc",), seeds=(1,), arms=("none",)), tmp_path).read_text(encoding="utf-8")
    assert not [path for path in tmp_path.rglob("*") if not path.stat().st_size]
    assert not (tmp_path / "contrasts.csv").exists() and "contrasts.csv" not in html
    assert "Next to this page: main_table.csv, per_language.csv, cost.csv, fingerprints.csv, claims.json" in html


def test_the_same_records_give_the_same_bytes(tmp_path):
    run = make_run(tasks=("pawsx", "bucc"), arms=("none", "caption-contrast"))
    contents = []
    for name in ("first", "second"):
        write(*run, tmp_path / name, outcomes=Outcomes(run.rows))
        files = [path for path in (tmp_path / name).rglob("*") if path.is_file()]
        contents.append({str(path.relative_to(tmp_path / name)): path.read_bytes() for path in files})
    assert contents[0] == contents[1]


@pytest.mark.usefixtures("no_heat_map_files")
def test_a_large_run_stays_below_two_megabytes(tmp_path):
    run = make_run(arms=("none", *(f"intermediate-{number}" for number in range(11))))
    path = write(*run, tmp_path, outcomes=Outcomes(run.rows, examples=100))
    assert "no measurable difference" in path.read_text(encoding="utf-8") and path.stat().st_size < 2_000_000


@pytest.mark.usefixtures("no_heat_map_files")
@pytest.mark.parametrize(
    ("of_each", "words"), [(1, "of groups of examples (one premise, one paragraph), none"), (5, "and in pawsx so are")]
)
def test_the_page_says_where_examples_are_drawn_in_groups(tmp_path, of_each, words):
    run = make_run(tasks=("pawsx",), arms=("none", "caption-contrast"))
    path = write(*run, tmp_path, outcomes=Outcomes(run.rows, of_each=of_each))
    assert words in path.read_text(encoding="utf-8")


def test_counts_that_differ_are_flagged(whole):
    assert "≠ 1 differ from the published count, 39 as published" in whole.html
    assert "36 without a published count" in whole.html


def test_without_results_the_error_says_what_to_do(tmp_path):
    run = make_run(tasks=("bucc",))
    with pytest.raises(DataError, match=r"no results.*\n.*how to fix"):
        write(run.about, (), run.costs, tmp_path)


@pytest.mark.usefixtures("no_heat_map_files")
@pytest.mark.parametrize("arms", [("none",), ("caption-contrast", "snli-mnli")])
def test_runs_without_anything_to_compare_still_have_a_page(arms, tmp_path: Path):
    run = make_run(arms=arms, tasks=("xnli", "bucc"))
    html = write(run.about, run.rows, (), tmp_path).read_text(encoding="utf-8")
    assert "<b>Answer</b> Not answered: " in html
    assert "nothing to compare" in html or "no difference can be given" in html
    assert "No stage recorded its cost" in html
    assert "▲" not in html


@pytest.mark.usefixtures("no_heat_map_files")
def test_an_unfinished_run_has_a_page(tmp_path):
    run = make_run(tasks=("xnli", "bucc"), absent=(("*", "bucc", "*"), ("none", "xnli", "*")))
    rows = [row for row in run.rows if row.seed == 1]
    html = write(run.about, rows, run.costs, tmp_path).read_text(encoding="utf-8")
    assert "1 of 3 seeds" in html
    table, _, notes = html.partition('<table class="main">')[2].partition("</table>")
    assert "xnli" in table and "bucc" not in table and ">none<" not in table
    assert "Tasks for which no arm has a result: bucc." in notes
    assert "Not in the table, for lack of any result: none." in notes


@pytest.mark.usefixtures("no_heat_map_files")
def test_seeds_beyond_those_of_all_arms_are_counted_as_they_are_and_a_mean_of_one_task_names_it(tmp_path, monkeypatch):
    monkeypatch.setattr("viaduct.report.words.MANY_ARMS", 1)
    run = make_run(tasks=("xnli",), seeds=(1, 2, 3, 4, 5))
    about = run.about.model_copy(update={"seeds": (1, 2, 3)})
    html = write(about, run.rows, run.costs, tmp_path).read_text(encoding="utf-8")
    assert "5 seeds" in html and "5 of 3 seeds" not in html
    assert "on xnli alone)" in html
