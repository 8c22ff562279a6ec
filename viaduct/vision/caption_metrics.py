"""Scores of generated captions (chrF2, BLEU-4, CIDEr-D) and of retrieving captions by image and images by caption.

CIDEr-D is defined as in pycocoevalcap (arXiv 1411.5726, section 4 with the changes of its appendix), and equals it on
the same tokens. COCO's published numbers use PTB tokens of English and ours do not, so the two are not comparable.
chrF2 and BLEU are sacrebleu's. Everything is scored on texts in NFKC and lower case; the images are not used.
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viaduct.errors import DataError, UsageError
from viaduct.languages import language as language_of
from viaduct.metrics.score import Predictions, Score, not_a_prediction, require_known_ids, rows_of, unlabelled
from viaduct.rows import Row
from viaduct.vision.rows import Captioned

UNSPACED = ("ja", "km", "lo", "my", "th", "zh")
"""Languages written without spaces between words: their tokens are characters."""

ORDERS = 4
"""n-grams of 1 to 4 tokens are counted, in CIDEr-D as in BLEU."""
SIGMA = 6.0
"""Sigma of CIDEr-D's penalty for a difference in length, in tokens."""
FEWEST_IMAGES = 100
"""With fewer images, document frequencies say little about which words are rare."""

RECALL_AT = (1, 5, 10)
"""Numbers of first answers among which a right one is looked for."""

_TOKENS = f"characters for {' '.join(UNSPACED)}"
_SIGNATURES = {
    "chrf": "chrf|sacrebleu {version} chrF2 nc:6 nw:0 on nfkc and lower case|v1",
    "cider_d": f"cider_d|n 1-4 sigma 6 x10 on nfkc, lower case, Unicode words, {_TOKENS}|v1",
    "bleu": "bleu|sacrebleu {version} BLEU-4 smooth:exp on nfkc and lower case, tok:char for "
    f"{' '.join(UNSPACED)}, tok:13a for Latin script, tok:intl otherwise|v1",
}
"""The same in every language, so that languages can be averaged; each states what it does for which languages."""
_RETRIEVAL = "share of queries with a right answer among the first k, ties count against"


def caption_scores(
    rows: Sequence[Row],
    predictions: Predictions,
    *,
    documents: Sequence[Row] | None = None,
    few_images: bool = False,
) -> tuple[Score, ...]:
    """Scores chrf and bleu (fractions) and cider_d (0 to 10) of one caption per image in one language.

    A prediction is the caption as text. A missing one counts as an empty caption. `documents`: the rows whose captions
    give CIDEr-D its document frequencies; None: `rows`. Raises DataError for no rows, rows in several languages, images
    without captions, unknown ids, predictions that are not text, and fewer than 100 images of `documents` unless
    `few_images`.
    """
    import sacrebleu  # slow to load
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    gold, code = _captions(rows), rows[0].language
    require_known_ids(gold, predictions)
    given = {id: _text_of(id, predictions) for id in gold}
    known = gold if documents is None else _captions(documents)
    frequency = document_frequency(known, code, few_images=few_images)
    ciders = [cider_d(given[id], captions, frequency) for id, captions in gold.items()]
    candidates = [normalise(text) for text in given.values()]
    # One stream per reference; sacrebleu accepts None where an image has fewer, though its types do not say so.
    streams: Any = list(map(list, zip_longest(*(map(normalise, captions) for captions in gold.values()))))
    values = {
        "chrf": CHRF().corpus_score(candidates, streams).score / 100,
        "cider_d": math.fsum(ciders) / len(ciders),
        "bleu": BLEU(tokenize=bleu_tokenizer(code)).corpus_score(candidates, streams).score / 100,
    }
    signed = {name: signature.format(version=sacrebleu.__version__) for name, signature in _SIGNATURES.items()}
    missing, units = sum(id not in predictions for id in gold), {"cider_d": "CIDEr-D"}
    return tuple(
        Score(name, value, len(gold), missing, signed[name], units.get(name, "fraction"))
        for name, value in values.items()
    )


def normalise(text: str) -> str:
    """The text in NFKC and lower case.

    >>> normalise("Ａ Cat")
    'a cat'
    """
    return unicodedata.normalize("NFKC", text).lower()


def tokens(text: str, code: str) -> list[str]:
    """The words of a text in this language, without punctuation: runs of letters, marks and digits, or each of these
    for a language written without spaces.

    >>> tokens("Two dogs, running.", "en")
    ['two', 'dogs', 'running']
    """
    kept = "".join(character if _is_of_a_word(character) else " " for character in normalise(text))
    return [character for character in kept if character != " "] if code in UNSPACED else kept.split()


def _is_of_a_word(character: str) -> bool:
    # marks are the vowels of many scripts; joiners occur inside words
    return unicodedata.category(character)[0] in "LMN" or character in "\u200c\u200d"


def bleu_tokenizer(code: str) -> str:
    """sacrebleu's tokenizer for this language: "char", "13a" (Latin script) or "intl"."""
    if code in UNSPACED:
        return "char"
    return "13a" if language_of(code).script == "Latn" else "intl"


@dataclass(frozen=True)
class DocumentFrequency:
    """The number of images in whose captions each n-gram occurs."""

    language: str
    images: int
    counts: Mapping[tuple[str, ...], int]

    def vector(self, text: str) -> tuple[list[dict[tuple[str, ...], float]], int]:
        """(per order, n-gram -> term frequency times inverse document frequency; number of bigrams)."""
        words = tokens(text, self.language)
        vectors = [
            {
                gram: count * (math.log(self.images) - math.log(max(1, self.counts.get(gram, 0))))
                for gram, count in _grams(words, order).items()
            }
            for order in range(1, ORDERS + 1)
        ]
        # pycocoevalcap counts length in bigrams: one less than in words, which leaves differences the same
        return vectors, max(0, len(words) - 1)


def document_frequency(
    captions: Mapping[str, Sequence[str]], code: str, *, few_images: bool = False
) -> DocumentFrequency:
    """The frequencies in these captions (image id -> its captions). Raises DataError for fewer than 100 images unless
    `few_images`."""
    if not captions or (len(captions) < FEWEST_IMAGES and not few_images):
        raise DataError(
            f"CIDEr-D: {len(captions)} images are too few to tell rare words from frequent ones",
            fix=f"give the captions of {FEWEST_IMAGES} images or more as `documents`, or set `few_images`",
        )
    counts: Counter[tuple[str, ...]] = Counter()
    for texts in captions.values():
        counts.update({gram for text in texts for n in range(1, ORDERS + 1) for gram in _grams(tokens(text, code), n)})
    return DocumentFrequency(code, len(captions), counts)


def cider_d(candidate: str, references: Sequence[str], frequency: DocumentFrequency) -> float:
    """CIDEr-D of one caption, 0 to 10: the mean over its references and over n = 1 to 4 of the cosine of tf-idf
    vectors, the candidate's clipped at the reference's, with a penalty for a different length.

    An empty caption, and one whose n-grams all occur in every image, scores 0. Raises DataError for no references.
    """
    if not references:
        raise DataError("CIDEr-D: an image has no captions to compare with")
    own, length = frequency.vector(candidate)
    total = 0.0
    for reference in references:
        theirs, other_length = frequency.vector(reference)
        penalty = math.exp(-((length - other_length) ** 2) / (2 * SIGMA**2))
        total += penalty * math.fsum(_clipped_cosine(ours, other) for ours, other in zip(own, theirs, strict=True))
    return 10 * total / (ORDERS * len(references))


def _clipped_cosine(candidate: Mapping[tuple[str, ...], float], reference: Mapping[tuple[str, ...], float]) -> float:
    norms = math.hypot(*candidate.values()) * math.hypot(*reference.values())
    if norms == 0:
        return 0.0
    shared = candidate.keys() & reference.keys()
    return math.fsum(min(candidate[gram], reference[gram]) * reference[gram] for gram in shared) / norms


def _grams(words: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(words[start:] for start in range(order)), strict=False))


def caption_retrieval(similarity_IC: NDArray[np.floating], image_of: Sequence[int]) -> tuple[Score, ...]:
    """Recall at k in both directions, from the similarity of I images (rows) and C captions (columns).

    `image_of`: the row of each caption's image. Scores image_to_text_recall_at_k (whether any of an image's captions is
    among its first k) and text_to_image_recall_at_k, for each k of `RECALL_AT`. A tie with a wrong answer counts
    against the right one, so a model that gives everything the same vector finds nothing. Raises DataError for an image
    without captions and for similarities that are NaN, UsageError for shapes that do not match.
    """
    images, captions = similarity_IC.shape if similarity_IC.ndim == 2 else (0, 0)
    owner = np.asarray(image_of, dtype=np.intp)
    if not images * captions or owner.shape != (captions,) or owner.min() < 0 or owner.max() >= images:
        raise UsageError(
            f"similarities of shape {similarity_IC.shape} and the images of {len(image_of):,} captions do not match",
            fix="give one row per image, one column per caption, and each caption's row",
        )
    lacking = np.setdiff1d(np.arange(images), owner)
    if lacking.size:
        raise DataError(f"image {lacking[0]} has no caption", fix="leave images without captions out")
    if np.isnan(similarity_IC).any():
        raise DataError("a similarity is not a number")
    own = similarity_IC[owner, np.arange(captions)]
    better = (similarity_IC >= own).sum(axis=0)  # includes the right image itself
    best = np.full(images, -np.inf)
    np.maximum.at(best, owner, own)
    wrong_IC = owner != np.arange(images)[:, None]
    ahead = ((similarity_IC >= best[:, None]) & wrong_IC).sum(axis=1)
    return tuple(
        Score(name, float(np.mean(places <= k)), len(places), 0, f"{name}|{_RETRIEVAL}|v1")
        for direction, places in (("image_to_text", ahead + 1), ("text_to_image", better))
        for k in RECALL_AT
        for name in (f"{direction}_recall_at_{k}",)
    )


def _captions(rows: Sequence[Row]) -> dict[str, tuple[str, ...]]:
    """Image id -> its captions."""
    typed = rows_of(rows, Captioned, "caption scores")
    languages = sorted({row.language for row in typed})
    if len(languages) > 1:
        raise DataError(f"caption scores are per language, but the rows are in {', '.join(languages)}")
    for row in typed:
        if not row.captions:
            raise unlabelled(row.id, "caption scores")
    return {row.id: row.captions for row in typed}


def _text_of(id: str, predictions: Predictions) -> str:
    if id not in predictions:
        return ""
    given = predictions[id].prediction
    if not isinstance(given, str):
        raise not_a_prediction(id, given, "the caption as text")
    return given
