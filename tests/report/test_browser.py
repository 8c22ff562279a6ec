"""The page in a browser: keyboard, dark mode, a narrow screen, paper, other scripts, and what axe finds.

Debian's Chromium through Playwright; skipped where either is not there.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from report_records import Outcomes, make_run

from viaduct.report import figure, page
from viaduct.report.page import Asked
from viaduct.report.predictions import Answer, Example, Predicted
from viaduct.vision.records import CaptionLoss, CaptionSample, ImageUse, StageImages

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium (apt-get install chromium)")

SCREENS = [(1280, "light"), (390, "dark")]
WRITTEN = "قطة حمراء."
WORDS_OUTSIDE_FOLDS = r"""() => {
  const folded = (one) => {
    for (let fold = one.closest("details"); fold; fold = fold.parentElement.closest("details"))
      if (!fold.open && !fold.querySelector(":scope > summary").contains(one)) return true;
    return false;
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let words = 0;
  while (walker.nextNode())
    if (!folded(walker.currentNode.parentElement)) words += (walker.currentNode.data.match(/\S+/g) ?? []).length;
  return words;
}"""


def used(seed: int) -> StageImages:
    """An arm that used its images, with a caption in Arabic."""
    numbers = {"tokens": 5, "true": 10.0, "null": 12.0, "right_true": 4, "right_wrong": 3}
    losses = tuple(
        CaptionLoss(id=f"{at}/0", image=str(at), language="en", wrong=11.5 + 0.01 * at * seed, **numbers)
        for at in range(5)
    )
    sample = CaptionSample(image="data:image/png;base64,AAAA", language="ar", reference="قطة.", written=WRITTEN)
    use = ImageUse(
        card="coco", split="dev", image="true", tower="patches", objectives=("ar_caption",), measured="ar_caption",
        losses=losses, scores=(), samples=(sample,), seen_languages=("en", "de"),
    )  # fmt: skip
    return StageImages(arm="caption-contrast", seed=seed, use=use)


def predicted() -> Iterator[Predicted]:
    """Twenty rows, of which the arms differ on the fourth."""
    answers = [
        {"none": Answer("yes", 1.0), "caption-contrast": Answer("no" if at == 3 else "yes", float(at != 3))}
        for at in range(20)
    ]
    examples = tuple(Example(f"row-{at}", (WRITTEN, f"<b>{at}</b>"), "yes", own) for at, own in enumerate(answers))
    yield Predicted("xnli", "ar", "test", {"none": 1, "caption-contrast": 1}, examples)


@pytest.fixture(scope="session")
def folder(made_once: Any) -> Path:
    """A run of a few arms with images and predictions."""

    def make(directory: Path) -> None:
        run = make_run(arms=("none", "caption-contrast", "text-only"), tasks=("xnli", "xquad", "bucc"), substituted=())
        records = {"images": [used(seed) for seed in (1, 2, 3)]}
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(figure, "heat_map", lambda _: None)
            asked = Asked(predictions=predicted())
            page.write(*run, directory, records=records, outcomes=Outcomes(run.rows), asked=asked)

    return made_once("browsed", make)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield running
        running.close()


Opened = Callable[..., Any]


@pytest.fixture
def opened(browser: Any, folder: Path) -> Iterator[Opened]:
    """Opens a page of the folder; it must ask for nothing but files of it, and its script must not fail."""
    contexts: list[Any] = []
    asked: list[str] = []
    failed: list[str] = []

    def open_page(name: str | Path = "report.html", width: int = 1280, scheme: str = "light", **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **options)
        context.set_default_timeout(120_000)
        contexts.append(context)
        shown = context.new_page()
        shown.on("request", lambda request: asked.append(request.url))
        shown.on("pageerror", lambda error: failed.append(str(error)))
        shown.goto((folder / name).as_uri())
        return shown

    yield open_page
    for context in contexts:
        context.close()
    assert all(url.startswith(("file:", "data:")) for url in asked) and not failed


def unfold(shown: Any) -> None:
    shown.evaluate("for (const fold of document.querySelectorAll('details')) fold.open = true")


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
@pytest.mark.parametrize("name", ["report.html", "predictions/xnli/ar.html"])
def test_axe_finds_nothing(opened: Opened, name: str, width: int, scheme: str) -> None:
    shown = opened(name, width, scheme)
    unfold(shown)
    found = axe.Axe().run(shown)
    assert found.violations_count == 0, found.generate_report()


def test_folded_it_is_one_screen_of_words_and_a_few_pages_of_paper(opened: Opened, whole: Any) -> None:
    shown = opened(whole.directory / "report.html")
    assert shown.evaluate(WORDS_OUTSIDE_FOLDS) <= 1500
    printed = shown.pdf(format="A4", margin=dict.fromkeys(("top", "right", "bottom", "left"), "15mm"))
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) <= 8
    table = shown.locator("#table-main_table").bounding_box()
    assert table["y"] + table["height"] < 900, "answer, verdicts and table are on the first screen"


@pytest.mark.parametrize("name", ["report.html", "predictions/xnli/ar.html"])
def test_a_narrow_screen_scrolls_tables_alone_and_has_no_tiny_text(opened: Opened, name: str) -> None:
    shown = opened(name, 390)
    unfold(shown)
    assert shown.evaluate("document.documentElement.scrollWidth") <= 390
    smallest = shown.evaluate(
        """() => Math.min(...[...document.querySelectorAll("body *")]
          .filter((one) => [...one.childNodes].some((own) => own.nodeType === 3 && own.data.trim()))
          .map((one) => {
            const drawn = one.closest("svg");
            const scale = drawn ? drawn.getBoundingClientRect().width / drawn.viewBox.baseVal.width : 1;
            return parseFloat(getComputedStyle(one).fontSize) * scale;
          }))"""
    )
    assert smallest >= 8.9


def test_dark_is_dark_and_print_is_light(opened: Opened) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    shown = opened(scheme="dark")
    assert max(map(int, re.findall(r"\d+", shown.evaluate(ground))[:3])) < 60
    shown.emulate_media(media="print", color_scheme="light")
    assert min(map(int, re.findall(r"\d+", shown.evaluate(ground))[:3])) > 250


def test_a_table_is_sorted_searched_and_filtered_by_keyboard(opened: Opened) -> None:
    shown = opened("predictions/xnli/ar.html")
    first = shown.locator("tbody tr:visible th").first
    assert first.inner_text() == "row-3", "the arms differ there"
    shown.get_by_role("button", name="Row").focus()
    shown.keyboard.press("Enter")
    assert first.inner_text() == "row-0"
    assert shown.locator("th[aria-sort=ascending]").inner_text() == "Row"
    shown.keyboard.press("Enter")
    assert first.inner_text() == "row-19", "by number, not by letter"
    shown.get_by_role("searchbox").focus()
    shown.keyboard.type("row-1")
    assert shown.locator("tbody tr:visible").count() == 11
    assert shown.get_by_role("status").inner_text() == "11 of 20 rows"
    shown.get_by_role("searchbox").fill("")
    shown.get_by_role("combobox", name="caption-contrast").select_option(index=2)
    assert shown.locator("tbody tr:visible").count() in (1, 19)


def test_a_score_leads_to_its_languages_and_from_there_to_predictions(opened: Opened) -> None:
    shown = opened()
    languages = shown.locator("#language-xnli")
    assert not languages.is_visible()
    shown.locator('#table-main_table a[href="#language-xnli"]').first.focus()
    shown.keyboard.press("Enter")
    languages.wait_for(state="visible")
    shown.wait_for_function("document.querySelector('#language-xnli').open")
    assert languages.locator("a[href^=predictions]").count() == 3, "one language has predictions, in each arm"
    languages.locator("a[href^=predictions]").first.click()
    shown.wait_for_url("**/predictions/xnli/ar.html")
    assert "<b>3</b>" in shown.locator("tbody tr").first.inner_text(), "texts of the data are no HTML"


def test_all_of_it_is_there_without_scripts(opened: Opened) -> None:
    shown = opened(java_script_enabled=False)
    shown.locator("summary:has(#claims), summary:has(#cost)").first.click()
    assert shown.locator("#table-cost_by_arm table").is_visible()
    assert shown.locator(".tools").count() == 0 and shown.get_by_role("link", name="LaTeX: Cost by arm").count() == 1


def test_captions_from_right_to_left_stand_apart_from_what_is_around_them(opened: Opened) -> None:
    shown = opened()
    unfold(shown)
    caption = shown.locator(f"bdi:text-is('{WRITTEN}')").first
    assert caption.get_attribute("lang") == "ar"
    direction = "one => getComputedStyle(one).unicodeBidi"
    assert caption.evaluate(direction) == "isolate"
    assert shown.locator("figcaption", has=caption).evaluate("one => getComputedStyle(one).direction") == "ltr"


def test_every_figure_has_a_table_and_a_file(opened: Opened, folder: Path) -> None:
    shown = opened()
    figures = shown.locator("svg[role=img]").all()
    assert len(figures) >= 4
    for one in figures:
        links = one.locator("xpath=ancestor::figure").locator(".files a").all()
        table, file = (link.get_attribute("href") for link in links)
        assert shown.locator(f"{table} table tbody tr").count() > 1
        assert (folder / file).is_file()
    assert "GiB of CC-100 text" in shown.content()
