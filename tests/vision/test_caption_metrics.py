"""Caption scores against pycocoevalcap's numbers, the paper's formula and sacrebleu; retrieval against sorting."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st

from viaduct.errors import DataError, UsageError
from viaduct.metrics.score import Prediction
from viaduct.rows import Pair
from viaduct.vision.caption_metrics import (
    bleu_tokenizer,
    caption_retrieval,
    caption_scores,
    cider_d,
    document_frequency,
    tokens,
)
from viaduct.vision.rows import Captioned

NOUNS = ("dog", "cat", "bird", "boat", "tree", "car", "child", "cup")
VERBS = ("runs", "sleeps", "waits", "turns", "falls")
PLACES = ("near the river", "in a park", "on the old bridge", "under a red roof")


def made(i, k):
    end = " and another one looks on" if (i + k) % 3 == 0 else ""
    return f"a {NOUNS[(3 * i + k) % 8]} {VERBS[(i + 2 * k) % 5]} {PLACES[(i // 2 + k) % 4]}{end}"


REFERENCES = {str(i): tuple(made(i, k) for k in range(1 + i % 4)) for i in range(120)}
CANDIDATES = {str(i): made(i + i % 3, i % 2) for i in range(120)} | {
    "7": "",
    "8": "dog",
    "9": "the the the the the river river",
    "10": "a zebra swims",
}


def rows(language="en", references=REFERENCES):
    return [Captioned(id, language, None, tuple(texts), "rules") for id, texts in references.items()]


def predictions(candidates=CANDIDATES, language="en"):
    return {id: Prediction(id, language, text) for id, text in candidates.items()}


def values(scores):
    return {score.metric: score.value for score in scores}


def test_cider_d_is_that_of_pycocoevalcap():
    """Cider().compute_score of pycocoevalcap 1.2 on the captions above, computed once."""
    frequency = document_frequency(REFERENCES, "en")
    own = [cider_d(CANDIDATES[id], texts, frequency) for id, texts in REFERENCES.items()]
    theirs = [10.0, 0.0, 0.741248676612, 2.506215579955, 0.911811902038, 0.0]
    theirs += [3.333333333333, 0.0, 1.033913930197, 0.160271946911, 0.0, 0.895971597364]
    assert own[:12] == pytest.approx(theirs, abs=1e-11)
    assert math.fsum(own) / 120 == pytest.approx(1.9587856946008917, rel=1e-12)
    assert values(caption_scores(rows(), predictions()))["cider_d"] == pytest.approx(1.9587856946008917, rel=1e-12)


def formula(candidate, references, corpus):
    """Equations 1 to 4 of arXiv 1411.5726 and the appendix's changes, term by term over the whole vocabulary."""
    grams = lambda words, n: [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]  # noqa: E731
    total = 0.0
    for n in range(1, 5):
        vocabulary = {g for texts in [*corpus, [candidate]] for text in texts for g in grams(text.split(), n)}

        def weight(text, gram, n=n):
            documents = sum(any(gram in grams(other.split(), n) for other in texts) for texts in corpus)
            return grams(text.split(), n).count(gram) * math.log(len(corpus) / max(1, documents))

        for reference in references:
            own = {gram: weight(candidate, gram) for gram in vocabulary}
            other = {gram: weight(reference, gram) for gram in vocabulary}
            norms = math.sqrt(sum(w * w for w in own.values())) * math.sqrt(sum(w * w for w in other.values()))
            product = sum(min(own[gram], other[gram]) * other[gram] for gram in vocabulary)
            penalty = math.exp(-((len(candidate.split()) - len(reference.split())) ** 2) / 72)
            total += penalty * product / norms if norms else 0.0
    return 10 * total / 4 / len(references)


SENTENCE = st.lists(st.sampled_from(["a", "red", "boat", "dog", "sits"]), min_size=1, max_size=7).map(" ".join)


@settings(max_examples=40, deadline=None)
@given(SENTENCE, st.lists(st.lists(SENTENCE, min_size=1, max_size=3), min_size=2, max_size=5))
def test_cider_d_is_the_papers_formula(candidate, corpus):
    frequency = document_frequency(dict(enumerate(corpus)), "en", few_images=True)
    assert cider_d(candidate, corpus[0], frequency) == pytest.approx(formula(candidate, corpus[0], corpus), abs=1e-9)


def test_cider_d_refuses_few_images_unless_told_or_given_the_whole_split():
    few = dict(list(REFERENCES.items())[:20])
    given_ = predictions({id: CANDIDATES[id] for id in few})
    with pytest.raises(DataError, match="20 images are too few"):
        caption_scores(rows(references=few), given_)
    told = values(caption_scores(rows(references=few), given_, few_images=True))
    whole = values(caption_scores(rows(references=few), given_, documents=rows()))
    frequency = document_frequency(REFERENCES, "en")
    assert whole["cider_d"] == pytest.approx(np.mean([cider_d(CANDIDATES[id], few[id], frequency) for id in few]))
    assert told["cider_d"] != whole["cider_d"] and told["bleu"] == whole["bleu"]


def test_bleu_and_chrf_are_sacrebleus():
    streams = [[(texts[k] if k < len(texts) else None) for texts in REFERENCES.values()] for k in range(4)]
    found = values(caption_scores(rows(), predictions()))
    candidates = list(CANDIDATES.values())
    assert found["bleu"] == pytest.approx(sacrebleu.corpus_bleu(candidates, streams, lowercase=True).score / 100)
    assert found["chrf"] == pytest.approx(sacrebleu.corpus_chrf(candidates, streams).score / 100)


def test_right_captions_score_full_marks_and_case_and_width_do_not_count():
    right = {id: texts[0].upper().replace("A", "Ａ") for id, texts in REFERENCES.items()}
    found = caption_scores(rows(), predictions(right))
    assert values(found)["bleu"] == pytest.approx(1.0) and values(found)["chrf"] == pytest.approx(1.0)
    single = {str(i): (made(i, 0),) for i in range(120)}
    best = caption_scores(rows(references=single), predictions({id: texts[0] for id, texts in single.items()}))
    assert values(best)["cider_d"] == pytest.approx(10.0)
    assert [(score.metric, score.unit, score.n) for score in found] == [
        ("chrf", "fraction", 120),
        ("cider_d", "CIDEr-D", 120),
        ("bleu", "fraction", 120),
    ]


def test_missing_captions_are_empty_and_counted():
    some = {id: text for id, text in CANDIDATES.items() if int(id) >= 30}
    empty = {**CANDIDATES, **{str(i): "" for i in range(30)}}
    found = caption_scores(rows(), predictions(some))
    assert {score.n_missing for score in found} == {30}
    assert values(found) == values(caption_scores(rows(), predictions(empty)))
    assert set(values(caption_scores(rows(), {})).values()) == {0.0}


def test_tokens_are_words_or_characters():
    assert tokens("Zwei Hunde, die spielen!", "de") == ["zwei", "hunde", "die", "spielen"]
    assert tokens("दो कुत्ते।", "hi") == ["दो", "कुत्ते"], "vowel signs stay in their word"
    assert tokens("می\u200cدود", "fa") == ["می\u200cدود"], "so do joiners"
    assert tokens("两只狗。 Ok", "zh") == ["两", "只", "狗", "o", "k"]
    assert len(tokens("หมาวิ่ง", "th")) == 7
    assert tokens("!?", "en") == []
    assert [bleu_tokenizer(code) for code in ("zh", "ja", "th", "my", "en", "hi")] == ["char"] * 4 + ["13a", "intl"]


def test_languages_without_spaces_get_credit_for_parts_of_a_sentence():
    texts = {
        str(i): (f"{'红蓝绿黄'[i % 4]}色的{'狗猫鸟船树车杯'[i % 7]}在{'河山桥家园'[i % 5]}边。",) for i in range(120)
    }
    near = {id: one[0].replace("边", "里") for id, one in texts.items()}
    found = values(caption_scores(rows("zh", texts), predictions(near, "zh")))
    assert 0.3 < found["bleu"] < 1 and 0.3 < found["chrf"] < 1 and 3 < found["cider_d"] < 10


def test_signatures_are_the_same_in_every_language_and_say_what_differs():
    english = caption_scores(rows(), predictions())
    thai = caption_scores(rows("th"), predictions(language="th"))
    assert [score.signature for score in english] == [score.signature for score in thai]
    for score in english:
        name, definition, version = score.signature.split("|")
        assert (name, version) == (score.metric, "v1") and "nfkc" in definition
    bleu = next(score.signature for score in english if score.metric == "bleu")
    assert "tok:char for ja km lo my th zh" in bleu and sacrebleu.__version__ in bleu


@pytest.mark.parametrize(
    ("gold", "given_", "message"),
    [
        ([], {}, "no gold rows"),
        ([Pair("1", "en", "a", "b", "x")], {}, "is a Pair"),
        ([Captioned("1", "en", None, (), "people")], {}, "no gold label"),
        ([Captioned("1", "en", None, ("a",), "people"), Captioned("1", "de", None, ("a",), "people")], {}, "de, en"),
        (rows(), {"x": Prediction("x", "en", "a dog")}, "do not have"),
        (rows(), {"1": Prediction("1", "en", 3)}, "is a number"),
    ],
)
def test_what_cannot_be_scored_is_refused(gold, given_, message):
    with pytest.raises(DataError, match=message):
        caption_scores(gold, given_)


def by_sorting(similarity, owner, k):
    """Recall at k both ways, by looking at each query's sorted candidates; needs scores without ties."""
    images, captions = similarity.shape
    found = [any(owner[c] == i for c in np.argsort(-similarity[i])[:k]) for i in range(images)]
    back = [owner[c] in np.argsort(-similarity[:, c])[:k] for c in range(captions)]
    return sum(found) / images, sum(back) / captions


@settings(max_examples=40)
@given(st.integers(1, 12), st.integers(0, 3), st.integers(0, 10_000))
def test_retrieval_is_what_sorting_gives(images, more, seed):
    rng = np.random.default_rng(seed)
    owner = np.concatenate([np.arange(images), rng.integers(0, images, more * images)])
    similarity = rng.permutation(images * len(owner)).reshape(images, len(owner)).astype(np.float32)
    found = values(caption_retrieval(similarity, owner.tolist()))
    for k in (1, 5, 10):
        forth, back = by_sorting(similarity, owner, k)
        assert found[f"image_to_text_recall_at_{k}"] == pytest.approx(forth)
        assert found[f"text_to_image_recall_at_{k}"] == pytest.approx(back)


def test_retrieval_with_one_vector_for_everything_finds_nothing():
    scores = caption_retrieval(np.zeros((20, 100)), [number // 5 for number in range(100)])
    assert {score.value for score in scores} == {0.0}
    assert [score.n for score in scores] == [20, 20, 20, 100, 100, 100]
    assert len({score.signature for score in scores}) == 6
    assert all(score.signature.count("|") == 2 for score in scores)


def test_retrieval_checks_its_shapes():
    with pytest.raises(UsageError, match="do not match"):
        caption_retrieval(np.zeros((2, 3)), [0, 1])
    with pytest.raises(UsageError, match="do not match"):
        caption_retrieval(np.zeros((2, 3)), [0, 1, 2])
    with pytest.raises(UsageError, match="do not match"):
        caption_retrieval(np.zeros((2, 0)), [])
    with pytest.raises(DataError, match="image 1 has no caption"):
        caption_retrieval(np.zeros((2, 2)), [0, 0])
    with pytest.raises(DataError, match="not a number"):
        caption_retrieval(np.full((1, 1), np.nan), [0])
