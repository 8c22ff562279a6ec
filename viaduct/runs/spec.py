"""A recipe: a declared experiment, as frozen models that a Python file builds or a YAML file is parsed into.

Literals here are identity: changing one changes the fingerprint of the stages that use it. Where to run (device,
threads, store, data folder) is not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from viaduct.errors import UsageError

ENGINES: Mapping[str, tuple[str, ...]] = {
    "torch": ("fp32", "bf16", "int8"),
    "onnx": ("fp32", "int8"),
    "openvino": ("fp32", "bf16", "int8"),
}
"""What runs a trained model on a CPU -> its precisions. ONNX Runtime has no bfloat16 products on CPUs."""

EngineName = Literal["torch", "onnx", "openvino"]
Precision = Literal["fp32", "bf16", "int8"]


class Spec(BaseModel):
    """A frozen specification; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Training(Spec):
    """How one stage is trained: AdamW with linear warm-up and decay, token-budget batches."""

    learning_rate: float = 2e-5
    """Peak rate of the encoder."""
    head_learning_rate: float | None = None
    """Peak rate of the head's own parameters; None: the encoder's."""
    epochs: float = 3.0
    """Passes over the training rows."""
    max_steps: int | None = None
    """Optimiser steps at most; None: as `epochs` says."""
    batch_tokens: int = 2048
    """Non-padding tokens per optimiser step, about."""
    max_length: int = 128
    """Tokens per row at most; longer rows are cut (pairs), split (tagging) or windowed (spans)."""
    stride: int = 64
    """Spans: tokens by which neighbouring windows overlap."""
    warmup_fraction: float = 0.1
    """Share of the steps spent warming up."""
    weight_decay: float = 0.0
    """Of weight matrices; embeddings, biases and LayerNorm have none."""
    clip_norm: float = 1.0
    """Global gradient norm at most."""
    evaluations: int = 5
    """How often English dev is scored, evenly spaced, the last after the last step; the best checkpoint is kept."""
    dev_rows: int | None = 1000
    """English dev rows scored at each evaluation (the first ones); None: all."""
    patience: int | None = None
    """Evaluations without improvement before stopping early; None: never."""
    train_rows: int | None = None
    """Training rows used (a seeded sample); None: all."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Of products while training; weights and the optimiser are float32. "auto": bf16 on GPUs that have it. CPUs with
    instructions for it (`viaduct doctor`) train encoders of width 384 1.5 times as fast in bf16, of width 768 twice."""


class Architecture(Spec):
    """Shape of an XLM-R-like encoder that is built from scratch."""

    layers: int = 4
    hidden: int = 256
    """Width of the residual stream."""
    heads: int = 4
    """Attention heads per layer."""
    feed_forward: int = 1024
    """Inner width of the feed-forward layers."""
    vocabulary: int = 8000
    """Pieces in the trained unigram vocabulary, special ones included."""
    max_length: int = 512
    """Longest input, in tokens."""
    dropout: float = 0.1


class Pretrain(Spec):
    """An encoder of our own: tokenizer and weights trained on text (masked LM) and parallel text (translation LM)."""

    name: str
    architecture: Architecture = Architecture()
    text: tuple[str, ...] = ("text",)
    """Cards of kind "text"."""
    parallel: tuple[str, ...] = ()
    """Cards of kind "parallel": both sides in one row, masked on both (TLM, arXiv 1901.07291)."""
    languages: tuple[str, ...] | None = None
    """None: every language whose files are there."""
    parallel_share: float = 0.3
    """Share of the training rows drawn from parallel text."""
    sampling_exponent: float = 0.5
    """Languages are drawn with probability proportional to size ** this (XLM-R uses 0.3)."""
    mask_fraction: float = 0.15
    whole_words: bool = False
    """Mask all pieces of a word together: where words fall into many pieces, one is guessed from its neighbours."""
    training: Training = Training(learning_rate=1e-3, epochs=1.0, batch_tokens=8192, weight_decay=0.01)
    seed: int = 1
    half_precision: bool = False
    """Store the encoder's weights in float16."""


class Objective(Spec):
    """One thing that is asked about images and captions, and the share of the steps that ask it."""

    name: Literal["ar_caption", "mlm_caption", "contrastive", "itm", "imagine"]
    """Write the caption, fill in its masked words, find the image among others, say whether image and caption belong
    together, predict the image's vector."""
    share: float = Field(default=1.0, gt=0)


ImageSource = Literal["true", "null", "shuffled_caption", "shuffled_image", "noise", "text", "none"]


class Captions(Spec):
    """Images with captions as training data: which, seen through what, and what is asked."""

    card: str
    """Of kind "captioned"."""
    objectives: tuple[Objective, ...] = (
        Objective(name="ar_caption", share=0.75),
        Objective(name="mlm_caption", share=0.25),
    )
    image: ImageSource = "true"
    """What stands for the image: its own features; or a control: one learned constant, another image drawn anew for
    every caption and epoch, always the same wrong image, Gaussian noise with the features' mean and covariance,
    another caption of the same image (contrastive), or nothing."""
    tower: str = "patches"
    """A vision model's Hub name or folder, or "patches" (raw pixels, no weights)."""
    tower_revision: str | None = None
    tower_tokens: int = Field(default=64, ge=1)
    """Visual tokens per image at most; finer patches are averaged."""
    tower_layers: int = Field(default=0, ge=0)
    """Convolutions over raw pixels that are trained with the stage, for the tower without weights."""
    languages: tuple[str, ...] | None = None
    """Of the captions; None: every language whose captions are there."""
    one_language_per_image: bool = False
    """Each image keeps its captions in one language only (drawn by the seed): no parallel text is left."""
    train_images: int | None = None
    """Images used (a seeded sample); None: all."""
    dev_captions: int = 300
    """Held-out captions on which the use of the image is measured (a fixed sample)."""
    written: int = 120
    """ar_caption: held-out captions that are written in the end."""
    mask_fraction: float = 0.4
    """mlm_caption: share of the pieces, in whole words, rare words more often; at least one of every caption."""
    label_smoothing: float = 0.1
    """ar_caption."""
    null_share: float = 0.1
    """Share of the captions whose image is replaced by the learned null image."""
    contrast: Literal["sigmoid", "softmax"] = "sigmoid"
    """SigLIP's loss, or InfoNCE in both directions. Captions of one image are positives of each other's images."""
    negatives: int = Field(default=0, ge=0)
    """contrastive with softmax: further images drawn for every step that no text of the batch belongs to."""
    common_width: int = 256
    """contrastive: width of the space in which texts and images are compared."""
    skip_damaged: bool = False
    """Leave out images that cannot be opened, and say which; else the first one stops the run."""


class Replay(Spec):
    """Masked LM on plain text of many languages beside every step, against forgetting."""

    text: tuple[str, ...] = ("text",)
    """Cards of kind "text"."""
    languages: tuple[str, ...] | None = None
    """None: every language whose text is there."""
    weight: float = 1.0
    """Of its loss beside the stage's own."""
    batch_tokens: int = 1024
    max_length: int = 128
    lines: int = 2000
    """Lines per language at most (the first ones)."""
    sampling_exponent: float = 0.3
    """Languages are drawn with probability proportional to size ** this."""
    mask_fraction: float = 0.15
    whole_words: bool = True


class Retention(Spec):
    """What keeps an encoder close to what it was."""

    kl: float = Field(default=0.0, ge=0)
    """Weight of KL(before || now) of the masked words of replayed text; needs `replay`."""
    l2_sp: float = Field(default=0.0, ge=0)
    """Weight of half the squared distance from the weights before (L2-SP, arXiv 1802.01483)."""
    lora_rank: int | None = Field(default=None, ge=1)
    """Train low-rank changes of the linear layers only, added to them at the end (arXiv 2106.09685), scaled by 2."""
    freeze_embeddings: bool = False
    """Leave the word embeddings as they are."""
    interpolate: float = Field(default=1.0, gt=0, le=1)
    """Weight of the weights after the stage in their average with those before (arXiv 2109.01903)."""


class Distil(Spec):
    """A smaller encoder (the student) that learns on text without labels to do what a larger one (the teacher) does.

    The teacher is the arm's encoder as it is after its intermediate tasks. Layer j of S of the student begins as the
    teacher's layer round(j T / S) of T, and is held to that layer's states.
    """

    layers: int = Field(ge=1)
    """Of the student."""
    text: tuple[str, ...] = ("text",)
    """Cards of kind "text"."""
    languages: tuple[str, ...] | None = None
    """None: every language whose text is there."""
    lines: int = Field(default=2000, ge=1)
    """Lines per language at most (the first ones)."""
    sampling_exponent: float = 0.3
    """Languages are drawn with probability proportional to size ** this."""
    hidden: float = Field(default=1.0, ge=0)
    """Weight of the squared distance of student's and teacher's states, both of length 1 (arXiv 1908.09355)."""
    logits: float = Field(default=1.0, ge=0)
    """Weight of KL(teacher || student) of the guesses at masked words, where the teacher has a masked-LM head."""
    temperature: float = Field(default=2.0, gt=0)
    """The guesses' logits are divided by it, and their KL multiplied by its square (arXiv 1503.02531)."""
    mask_fraction: float = Field(default=0.15, gt=0, lt=1)
    whole_words: bool = True
    training: Training = Training(learning_rate=1e-4, batch_tokens=8192, weight_decay=0.01)


class Compression(Spec):
    """How an arm's model is made smaller: the encoder before the target's training, or the trained model's numbers."""

    layers: int | None = Field(default=None, ge=1)
    """Keep the lowest layers of the encoder, this many; the target trains what is left."""
    vocabulary: tuple[str, ...] | None = None
    """Keep the pieces that these languages' text uses, exactly; text in other languages becomes unknown."""
    text: tuple[str, ...] = ("text",)
    """Cards of kind "text": what `vocabulary` is looked up in, and what OpenVINO's int8 is calibrated on."""
    distil: Distil | None = None
    """Put a student in the encoder's place."""
    engine: EngineName = "torch"
    """What predicts. Nothing is trained again: only the numbers of the trained model are others."""
    precision: Precision = "fp32"

    @property
    def reduced(self) -> bool:
        """Whether predictions are made in another way than in torch and float32."""
        return (self.engine, self.precision) != ("torch", "fp32")


class Mixture(Spec):
    """How the members of a mixture are drawn, one per step."""

    sampling: Literal["proportional", "temperature", "uniform"] = "proportional"
    cap: int | None = 2**14
    """Rows that a member counts with at most when shares are computed; None: all of them."""
    temperature: float = Field(default=2.0, gt=0)
    """Shares are proportional to rows ** (1 / temperature)."""


class Intermediate(Spec):
    """One intermediate arm. The baseline has nothing to train on and is named "none".

    Tasks alone are trained one after the other. With any of `together`, `captions`, `replay`, `retention` or languages
    beyond English all of it is one stage. An arm that differs from another in its `compression` alone shares all stages
    before that with it.
    """

    name: str
    tasks: tuple[str, ...] = ()
    training: Training = Training()
    together: Mixture | None = None
    captions: Captions | None = None
    replay: Replay | None = None
    retention: Retention = Retention()
    languages: tuple[str, ...] = ("en",)
    """Whose train rows of the tasks are used: machine-translated ones, where a card has them."""
    compression: Compression | None = None
    """What is made smaller after all that; the baseline has none."""
    optional: bool = False
    """Left out, and said to be, where data that it trains on are not there; otherwise that is an error."""

    @property
    def joint(self) -> bool:
        """Whether everything is one stage."""
        plain = self.together is None and self.captions is None and self.replay is None
        return not (plain and self.retention == Retention() and self.languages == ("en",))


class Retrieval(Spec):
    """How sentences become vectors, and pairs of vectors become translations."""

    layers: tuple[int, ...] | None = None
    """Hidden layers that are pooled, 0 = embeddings; None: the one two thirds up. Of several the best on dev is used:
    on the task's own dev split (mining), else on the card `choose_on`."""
    choose_on: str = "ntrex"
    """Card of kind "parallel" on which a layer is chosen where the task has no dev split."""
    pooling: Literal["mean", "first"] = "mean"
    """Over all tokens, or the first one's state (CLS)."""
    centre: bool = False
    """Subtract each side's mean vector, which takes away what tells languages apart (published numbers do not)."""
    neighbours: int = Field(default=4, ge=1)
    """Mining: k of the margin (XTREME: 4)."""
    margin: Literal["ratio", "distance", "absolute"] = "ratio"
    """Mining: the cosine divided by, less, or regardless of the mean over both sides' neighbours (arXiv 1811.01136)."""
    candidates: Literal["max", "intersection", "forward", "backward"] = "max"
    """Mining: best pairs of both directions one to one, only those that both directions name, or of one direction."""


class Target(Spec):
    """One target task: trained in English, predicted in every language."""

    task: str
    training: Training = Training()
    languages: tuple[str, ...] | Literal["all", "available"] = "all"
    """"all": every language of the card must be there; "available": those whose labelled files are there (the report
    lists the others); or a list."""
    split: str = "test"
    retrieval: Retrieval = Retrieval()
    """Used by retrieval and mining only."""


class Measure(Spec):
    """How the cost at inference of the arms' models is measured: on the CPU, all of one target and the first seed, each
    against the first arm's."""

    task: str | None = None
    """Target whose models are measured; None: the first one that is trained."""
    rows: int = Field(default=200, ge=1)
    """Of the target, over its languages: for latency, throughput and memory."""
    rounds: int = Field(default=20, ge=1)
    """Paired ones; in each, two models go through the same rows in turns. With fewer than 20 the report says nothing
    about speed."""
    round_rows: int = Field(default=16, ge=1)
    """Of the `rows`; each is run three times in a round by either model."""
    threads: int = Field(default=1, ge=1)


class Substitution(Spec):
    """A split that is missing, and what stands in for it. Nothing is ever substituted without one of these."""

    task: str
    split: Literal["train", "dev", "test"]
    use_task: str | None = None
    """Card to read instead; None: the same card."""
    use_split: Literal["train", "dev", "test"]
    part: tuple[float, float] = (0.0, 1.0)
    """The share of its groups (rows with the same context or first text stay together) to use, e.g. (0.0, 0.9)."""
    without_contexts_of: str | None = None
    """Drop rows whose context occurs in this card's English test split."""
    without_rows_of: tuple[str, ...] = ()
    """Drop rows that occur in these cards' test splits, in any language whose files are there (letters and digits are
    compared)."""
    why: str

    def words(self) -> str:
        """The substitution in words, for reports."""
        source = f"{self.use_task or self.task} {self.use_split}"
        share = "" if self.part == (0.0, 1.0) else f", part {self.part[0]:g}-{self.part[1]:g}"
        without = f", without the contexts of {self.without_contexts_of}" if self.without_contexts_of else ""
        without += f", without the rows of {', '.join(self.without_rows_of)}" if self.without_rows_of else ""
        return f"{self.task} {self.split} := {source}{share}{without} ({self.why})"


class Recipe(Spec):
    """encoder x intermediates x targets x seeds, with the hypothesis stated before the run."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")
    hypothesis: str
    encoder: str | Pretrain
    """A Hub name or a folder that `AutoModel.from_pretrained` opens, or an encoder to pretrain."""
    revision: str | None = None
    """Hub revision (commit) of the encoder; None only for folders and encoders to pretrain."""
    intermediates: tuple[Intermediate, ...] = (Intermediate(name="none"),)
    targets: tuple[Target, ...]
    seeds: tuple[int, ...] = (1,)
    compare: tuple[tuple[str, str], ...] = ()
    """Pairs of arms whose difference, first less second, the report tests besides each arm against the baseline."""
    cards: tuple[str, ...] = ()
    """Files with cards of your own (.py, .toml, .yaml), relative to the recipe's folder; their tasks are named like
    built-in ones."""
    substitutions: tuple[Substitution, ...] = ()
    measure: Measure | None = Measure()
    """None: nothing is measured. Recipes whose targets are all untrained have nothing to measure."""
    miniature: bool = False
    """The data are the generated world: the report says on its face that it is no evidence."""

    @model_validator(mode="after")
    def _check(self) -> Recipe:
        for what, names in (
            ("intermediate", [arm.name for arm in self.intermediates]),
            ("target", [target.task for target in self.targets]),
            ("seed", [str(seed) for seed in self.seeds]),
        ):
            doubled = sorted({name for name in names if names.count(name) > 1})
            if doubled:
                raise UsageError(f"recipe {self.name}: {what} '{doubled[0]}' is there twice")
            if not names:
                raise UsageError(f"recipe {self.name}: no {what} given")
        return self
