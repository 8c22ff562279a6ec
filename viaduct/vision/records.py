"""What a stage with captioned images writes to `images.json` about their use, and the report's record of it."""

from __future__ import annotations

from viaduct.results.record import Record


class CaptionLoss(Record):
    """Loss in nats of one held-out text, by image shown: summed over a caption's predicted tokens, or the label's."""

    id: str
    image: str
    language: str
    tokens: int
    true: float
    wrong: float
    """With the features of another image, which is fixed for each image."""
    null: float
    """With the learned null image."""
    right_true: int
    """Tokens predicted correctly with the true image: the true token is the likeliest of the vocabulary."""
    right_wrong: int
    right_null: int | None = None
    """None in files of earlier versions."""


class CaptionSample(Record):
    """One held-out image with the caption that the model wrote for it."""

    image: str
    """A small PNG as a data URI."""
    language: str
    reference: str
    written: str


class CaptionScore(Record):
    """A score: of captions written in one language, of retrieval by captions and images, or the accuracy of labels."""

    language: str
    """"all" for captions of all languages together."""
    metric: str
    value: float
    n: int
    signature: str


class ImageUse(Record):
    """How an encoder uses images after its stage, measured on held-out captions."""

    card: str
    split: str
    image: str
    """What was shown as the image in training (`Captions.image`)."""
    tower: str
    objectives: tuple[str, ...]
    measured: str | None
    """The objective that `losses` belong to, "label" for labels; None: the stage has no such losses."""
    losses: tuple[CaptionLoss, ...]
    scores: tuple[CaptionScore, ...]
    samples: tuple[CaptionSample, ...]
    seen_languages: tuple[str, ...]
    """Languages with captions in training."""


class StageImages(Record):
    """How the encoder of one arm and seed uses images."""

    arm: str
    seed: int
    use: ImageUse
