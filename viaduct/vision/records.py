"""What a stage with captioned images leaves about their use, in `images.json`, and the report's record of it."""

from __future__ import annotations

from viaduct.results.record import Record


class CaptionLoss(Record):
    """Nats that one held-out text costs, by what is shown: those of a caption's predicted tokens, or of the label."""

    id: str
    image: str
    language: str
    tokens: int
    true: float
    wrong: float
    """Another image's features, always the same one for an image."""
    null: float
    """The learned null image."""
    right_true: int
    """Tokens that were guessed with the true image, as the likeliest of the vocabulary."""
    right_wrong: int
    right_null: int | None = None
    """None in files of earlier versions."""


class CaptionSample(Record):
    """One held-out image with what was written about it."""

    image: str
    """A small PNG as a data URI."""
    language: str
    reference: str
    written: str


class CaptionScore(Record):
    """How good captions written in one language are, how well images are found by captions, or how often a label is
    right."""

    language: str
    """"all" for captions of all languages together."""
    metric: str
    value: float
    n: int
    signature: str


class ImageUse(Record):
    """What use an encoder makes of images after its stage, on held-out captions."""

    card: str
    split: str
    image: str
    """What stood for the image in training (`Captions.image`)."""
    tower: str
    objectives: tuple[str, ...]
    measured: str | None
    """The objective whose losses these are, "label" for labels; None: the stage has no such losses."""
    losses: tuple[CaptionLoss, ...]
    scores: tuple[CaptionScore, ...]
    samples: tuple[CaptionSample, ...]
    seen_languages: tuple[str, ...]
    """With captions in training."""


class StageImages(Record):
    """The use that one arm and seed makes of images."""

    arm: str
    seed: int
    use: ImageUse
