"""Traits of languages and differences: ranks by brute force, known correlations, and what is not shown."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_records import make_run

from viaduct.languages import CC100_GIB, LANGUAGES, XTREME
from viaduct.report.associations import associations
from viaduct.report.contrasts import contrasts
from viaduct.report.figure import language_scatter
from viaduct.report.section import SeenLanguages


@cache
def of_a_run():
    run = make_run(tasks=("xnli",))
    return contrasts(run.about, run.rows).of("snli-mnli")


def contrast(**by_code):
    return replace(of_a_run(), by_code=by_code, weights={code: 1 / len(by_code) for code in by_code if code != "en"})


def found(by_code, seen=None):
    seen = None if seen is None else SeenLanguages("captions", seen)
    return {one["trait"]: one for one in associations([contrast(**by_code)], seen)}


def ranks(values):
    return [sum(other < value for other in values) + (values.count(value) + 1) / 2 for value in values]


@settings(deadline=None)
@given(st.lists(st.integers(-5, 5), min_size=8, max_size=12).filter(lambda values: len(set(values)) > 1))
def test_it_is_the_correlation_of_ranks(values):
    codes = [code for code in XTREME if code in CC100_GIB and code != "en"][: len(values)]
    by_code = dict(zip(codes, map(float, values), strict=True))
    expected = np.corrcoef(ranks(list(by_code.values())), ranks([CC100_GIB[code] for code in codes]))[0, 1]
    one = found(by_code)["text in CC-100"]
    assert one["rho"] == pytest.approx(expected, abs=1e-12)
    assert one["languages"] == len(codes)


def test_what_grows_with_the_amount_of_text_is_found():
    codes = [code for code in XTREME if code in CC100_GIB]
    one = found({code: -CC100_GIB[code] for code in codes})["text in CC-100"]
    assert one["rho"] == pytest.approx(-1) and not {"p", "low", "high"} & one.keys(), "nothing is tested"


def test_captions_in_training_are_a_trait_of_the_arm():
    by_code = {code: 1.0 + (code in ("de", "fr", "sw")) for code in ("de", "fr", "sw", "zh", "th", "ur", "vi")}
    assert found(by_code, {"snli-mnli": ("de", "fr", "sw")})["captions in training"]["rho"] == pytest.approx(1)
    assert "captions in training" not in found(by_code, {"other": ("de",)})
    assert "captions in training" not in found(by_code, {"snli-mnli": tuple(by_code)}), "all the same"


def test_few_languages_are_not_correlated():
    assert found({"de": 1.0, "fr": 2.0, "zh": 3.0}) == {}


def test_every_language_of_xtreme_but_yoruba_has_its_amount_of_text():
    assert set(XTREME) - set(CC100_GIB) == {"yo"}
    assert set(CC100_GIB) <= set(LANGUAGES)


def test_every_language_with_a_known_amount_of_text_is_drawn_in_each_arms_panel():
    codes = [code for code in XTREME if code != "en"]
    one = contrast(**{code: number / 1000 for number, code in enumerate(codes)})
    drawing = language_scatter([one, replace(one, arm="other")], {"snli-mnli": ("de", "fr")})
    assert drawing is not None
    words = re.findall(r">([a-z]{2})<", drawing.svg)
    assert sorted(words) == sorted(2 * [code for code in codes if code != "yo"])
    assert language_scatter([one], {}) == language_scatter([one], {"other": ("de",)})
    assert language_scatter([contrast(de=0.1)], {}) is None
