"""What the core knows of a recipe, as frozen models; `viaduct.runs.spec` adds to them what the rooms bring.

Literals here are identity: changing one changes the fingerprint of the stages that use it. Where to run (device,
threads, store, data folder) is not here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, model_validator

from viaduct.errors import UsageError
from viaduct.languages import ENGLISH
from viaduct.results.record import BASELINE
from viaduct.runs import bounds
from viaduct.runs.bounds import folder, later, wording


class Spec(bounds.Plain, BaseModel):
    """A frozen specification; unknown keys are refused, and numbers that are not finite or out of bounds."""


class Training(Spec):
    """How one stage is trained: AdamW with linear warm-up and decay, token-budget batches."""

    learning_rate: bounds.Rate = 2e-5
    """Peak rate of the encoder."""
    head_learning_rate: bounds.Rate | None = None
    """Peak rate of the head's own parameters; None: the encoder's."""
    epochs: bounds.Above = 3.0
    """Passes over the training rows."""
    max_steps: bounds.Count | None = None
    """Optimiser steps at most; None: as `epochs` says."""
    batch_tokens: bounds.Count = 2048
    """Non-padding tokens per optimiser step, about."""
    max_length: bounds.Length = 128
    """Tokens per row at most; longer rows are cut (pairs), split (tagging) or windowed (spans)."""
    stride: bounds.Natural = 64
    """Spans: tokens by which neighbouring windows overlap, half of `max_length` at most."""
    warmup_fraction: bounds.Share = 0.1
    """Share of the steps spent warming up."""
    weight_decay: bounds.Weight = 0.0
    """Of weight matrices; embeddings, biases and LayerNorm have none."""
    clip_norm: bounds.Above = 1.0
    """Global gradient norm at most."""
    evaluations: bounds.Evaluations = 5
    """How often English dev is scored, evenly spaced, the last after the last step; the best checkpoint is kept."""
    dev_rows: bounds.Count | None = 1000
    """English dev rows scored at each evaluation (the first ones); None: all."""
    patience: bounds.Count | None = None
    """Evaluations without improvement before stopping early; None: never."""
    train_rows: bounds.Count | None = None
    """Training rows used (a seeded sample); None: all."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Of products while training; weights and the optimiser are float32. "auto": on GPUs bf16 where they have it, else
    fp16. CPUs with instructions for bf16 (`viaduct doctor`) train encoders of width 384 1.5 times as fast in it, of
    width 768 twice."""
    encoder: Literal["full", "lora", "frozen"] = later("full")
    """What is trained beside the head: the whole encoder; low-rank changes of its linear layers, which are added to
    them at the end (arXiv 2106.09685, scaled by 2); or nothing, so that the head is a probe. Joint stages have
    `retention` instead."""
    lora_rank: bounds.Width = later(16)
    """Rank of these changes."""

    def words(self) -> str:
        """The settings in one line."""
        length = f"{self.epochs:g} epochs" if self.max_steps is None else f"at most {self.max_steps:,} steps"
        rows = "all rows" if self.train_rows is None else f"{self.train_rows:,} rows"
        head = "" if self.head_learning_rate is None else f" (head: {self.head_learning_rate:g})"
        return (
            f"learning rate {self.learning_rate:g}{head}, {length} of {rows}, {self.batch_tokens:,} tokens per step,"
            f" length {self.max_length}, warm-up {self.warmup_fraction:.0%}, weight decay"
            f" {self.weight_decay:g}, {self.evaluations} evaluations{self.of_encoder()}"
        )

    def of_encoder(self) -> str:
        """What of the encoder is trained, in words; "" for all of it."""
        rank = f", adapter of rank {self.lora_rank}"
        return {"full": "", "lora": rank, "frozen": ", frozen encoder"}[self.encoder]


def _whole(training: Training) -> Training:
    if training.encoder != "full":
        raise UsageError(
            f"training.encoder is '{training.encoder}' where an encoder is made",
            fix="leave it out there: arms' tasks and targets have it",
        )
    return training


WholeTraining = Annotated[Training, AfterValidator(_whole)]


class Architecture(Spec):
    """Shape of an XLM-R-like encoder that is built from scratch."""

    layers: bounds.Layers = 4
    hidden: bounds.Width = 256
    """Width of the residual stream."""
    heads: bounds.Width = 4
    """Attention heads per layer."""
    feed_forward: bounds.Width = 1024
    """Inner width of the feed-forward layers."""
    vocabulary: bounds.Pieces = 8000
    """Pieces in the trained vocabulary, special ones included."""
    max_length: bounds.Length = 512
    """Longest input, in tokens."""
    dropout: bounds.ShareBelowAll = 0.1


class Pretrain(Spec):
    """An encoder of our own: tokenizer and weights trained on text (masked LM) and parallel text (translation LM)."""

    name: str
    architecture: Architecture = Architecture()
    text: bounds.Some[str] = ("text",)
    """Cards of kind "text"."""
    parallel: bounds.Distinct[str] = ()
    """Cards of kind "parallel": both sides in one row, masked on both (TLM, arXiv 1901.07291)."""
    languages: bounds.Some[str] | None = None
    """None: every language whose files are there."""
    parallel_share: bounds.ShareBelowAll = 0.3
    """Share of the training rows drawn from parallel text."""
    sampling_exponent: bounds.Share = 0.5
    """Languages are drawn with probability proportional to size ** this (XLM-R uses 0.3)."""
    mask_fraction: bounds.InnerShare = 0.15
    whole_words: bool = False
    """Mask all pieces of a word together: where words fall into many pieces, one is guessed from its neighbours."""
    training: WholeTraining = Training(learning_rate=1e-3, epochs=1.0, batch_tokens=8192, weight_decay=0.01)
    seed: bounds.Natural = 1
    half_precision: bool = False
    """Store the encoder's weights in float16."""


class Replay(Spec):
    """Masked LM on plain text of many languages beside every step, against forgetting."""

    text: bounds.Some[str] = ("text",)
    """Cards of kind "text"."""
    languages: bounds.Some[str] | None = None
    """None: every language whose text is there."""
    weight: bounds.Weight = 1.0
    """Of its loss beside the stage's own."""
    batch_tokens: bounds.Count = 1024
    max_length: bounds.Length = 128
    lines: bounds.Count = 2000
    """Lines per language at most (the first ones)."""
    sampling_exponent: bounds.Share = 0.3
    """Languages are drawn with probability proportional to size ** this."""
    mask_fraction: bounds.InnerShare = 0.15
    whole_words: bool = True


class Retention(Spec):
    """What keeps an encoder close to what it was."""

    kl: bounds.Weight = 0.0
    """Weight of KL(before || now) of the masked words of replayed text; needs `replay`."""
    l2_sp: bounds.Weight = 0.0
    """Weight of half the squared distance from the weights before (L2-SP, arXiv 1802.01483)."""
    lora_rank: bounds.Width | None = None
    """Train low-rank changes of the linear layers only, added to them at the end (arXiv 2106.09685), scaled by 2."""
    freeze_embeddings: bool = False
    """Leave the word embeddings as they are."""
    interpolate: bounds.SomeShare = 1.0
    """Weight of the weights after the stage in their average with those before (arXiv 2109.01903)."""


class Mixture(Spec):
    """How the members of a mixture are drawn, one per step."""

    sampling: Literal["proportional", "temperature", "uniform"] = "proportional"
    cap: bounds.Count | None = 2**14
    """Rows that a member counts with at most when shares are computed; None: all of them."""
    temperature: bounds.Above = 2.0
    """Shares are proportional to rows ** (1 / temperature)."""


class Saw(Spec):
    """What an encoder was trained on before it came here, beyond plain text."""

    data: tuple[str, ...]
    """Names of cards or of data elsewhere (mnli, squad, quora, nllb, ...); none: plain text only."""
    source: str = Field(min_length=1)
    """Where that is said: a paper, a model card, or whoever trained it."""


class EncoderChoice(Spec):
    """One of several encoders, with the recipe's fields of these names; or their short form, "owner/name@commit"."""

    encoder: str | Pretrain = folder()
    revision: str | None = None
    encoder_saw: Saw | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        name, at, commit = given.partition("@")
        is_hub = at and not Path(given).expanduser().is_dir()
        return {"encoder": name, "revision": commit} if is_hub else {"encoder": given}


class ArmParts(Spec):
    """One intermediate arm. The baseline has nothing to train on and is named "none".

    With an `encoder` it begins with one that others trained further, such as the text tower of a published model.

    Tasks alone are trained one after the other. With any of `together`, `replay`, `retention`, languages beyond English
    or a room's field that says so, all of it is one stage.
    """

    name: str
    encoder: str | None = folder(None)
    """What the arm begins with in place of the recipe's: a Hub name or a folder that `AutoModel.from_pretrained` opens,
    or with open_clip's or M-CLIP's files of a text tower. Its tokenizer must give the ids of the recipe's."""
    revision: str | None = None
    """Hub revision (commit) of `encoder`."""
    parent: str | None = None
    """Arm whose encoder `encoder` was trained from, weight for weight of one shape ("none": the recipe's). Text towers
    need one. None: a plain encoder of whatever shape, which other arms may name."""
    encoder_saw: Saw | None = None
    """As in the recipe, of the arm's `encoder`."""
    after: str | None = None
    """Arm, further up, whose stages come before this one's own, seed by seed: masked LM, and then a task."""
    tasks: tuple[str, ...] = ()
    training: Training = Training()
    together: Mixture | None = None
    replay: Replay | None = None
    retention: Retention = Retention()
    languages: bounds.Some[str] = (ENGLISH,)
    """Whose train rows of the tasks are used: machine-translated ones, where a card has them."""
    longer_targets: bounds.Natural = 0
    """Steps that the targets of this arm are trained beyond their own `max_steps`: alone, the control for an arm that
    is trained so much more in its intermediate task."""
    optional: bool = False
    """Left out, and said to be, where data that it trains on are not there; otherwise that is an error."""


class Retrieval(Spec):
    """How sentences become vectors, and pairs of vectors become translations."""

    layers: bounds.Some[bounds.Natural] | Literal["all"] | None = None
    """Hidden layers that are pooled, 0 = embeddings. Of several, or "all", the best on dev is used: on the task's own
    dev split (mining), else on the card `choose_on`. None: a sentence encoder is used as its makers mean it (after
    training, that is one choice beside the layers); of others "all" where there are dev data, else the one two thirds
    up."""
    choose_on: str = "ntrex"
    """Card of kind "parallel" on which a layer is chosen where the task has no dev split."""
    pooling: Literal["mean", "first"] = "mean"
    """Over all tokens, or the first one's state (CLS)."""
    prompt: str | None = later(None)
    """Put before every sentence; None: what the makers of a sentence encoder put there, where it is used as they mean
    it, else nothing."""
    centre: bool = False
    """Subtract each side's mean vector, which takes away what tells languages apart (published numbers do not)."""
    neighbours: bounds.Count = 4
    """Mining: k of the margin (XTREME: 4)."""
    margin: Literal["ratio", "distance", "absolute"] = "ratio"
    """Mining: the cosine divided by, less, or regardless of the mean over both sides' neighbours (arXiv 1811.01136)."""
    candidates: Literal["max", "intersection", "forward", "backward"] = "max"
    """Mining: best pairs of both directions one to one, only those that both directions name, or of one direction."""

    @property
    def is_chosen(self) -> bool:
        """Whether one of several layers is chosen."""
        return self.layers == "all" or (self.layers is not None and len(self.layers) > 1)


class TargetParts(Spec):
    """One target task: trained in English, predicted in every language."""

    task: str
    training: Training = Training()
    languages: bounds.Some[str] | Literal["all", "available"] = "all"
    """"all": every language of the card must be there; "available": those whose labelled files are there (the report
    lists the others); or a list."""
    split: str = "test"
    retrieval: Retrieval = Retrieval()
    """Used by retrieval and mining only."""
    products: Literal["fp32", "bf16", "fp16"] = later("fp32")
    """The numbers of matrix products when it is predicted, on whatever device: bf16 or fp16 is quicker on GPUs, and may
    change a prediction now and then. Training has its own `precision`."""


class Substitution(Spec):
    """A split that is missing, and what stands in for it. Nothing is ever substituted without one of these."""

    task: str
    split: Literal["train", "dev", "test"]
    use_task: str | None = None
    """Card to read instead; None: the same card."""
    use_split: Literal["train", "dev", "test"]
    part: tuple[bounds.Share, bounds.Share] = (0.0, 1.0)
    """The share of its groups (rows with the same context or first text stay together) to use, e.g. (0.0, 0.9)."""
    without_contexts_of: str | None = None
    """Drop rows whose context occurs in this card's English test split."""
    without_rows_of: bounds.Distinct[str] = later(())
    """Drop rows that occur in these cards' test splits, in any language whose files are there (letters and digits are
    compared)."""
    why: str = wording()

    def words(self) -> str:
        """The substitution in words, for reports."""
        source = f"{self.use_task or self.task} {self.use_split}"
        share = "" if self.part == (0.0, 1.0) else f", part {self.part[0]:g}-{self.part[1]:g}"
        without = f", without the contexts of {self.without_contexts_of}" if self.without_contexts_of else ""
        without += f", without the rows of {', '.join(self.without_rows_of)}" if self.without_rows_of else ""
        return f"{self.task} {self.split} := {source}{share}{without} ({self.why})"


class RecipeParts(Spec):
    """encoder x intermediates x targets x seeds, with the hypothesis stated before the run."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", max_length=100)
    hypothesis: str
    encoder: str | Pretrain = folder()
    """A Hub name or a folder that `AutoModel.from_pretrained` opens, or an encoder to pretrain."""
    revision: str | None = None
    """Hub revision (commit) of the encoder; None only for folders and encoders to pretrain."""
    encoders: tuple[EncoderChoice, ...] = ()
    """Several encoders in place of `encoder`: each has a run of its own, and one page has all of them."""
    encoder_saw: Saw | None = None
    """What a ready-made encoder was trained on before; None: what is known by its name or its model card, else nothing.
    Tasks that it has seen are marked, and decide no claim. It changes no result."""
    allow_unknown: bool = False
    """Run even if the encoder's tokenizer does not know most pieces of the texts. It changes no result."""
    intermediates: tuple[ArmParts, ...] = (ArmParts(name=BASELINE),)
    targets: tuple[TargetParts, ...]
    seeds: tuple[bounds.Natural, ...] = (1,)
    compare: tuple[tuple[str, str], ...] = ()
    """Pairs of arms whose difference, first less second, the report tests besides each arm against the baseline."""
    deciding: tuple[tuple[str, ...], ...] = ()
    """The few comparisons that decide the hypothesis: [arm, against] in the mean over tasks, [arm, against, task], or
    [arm, against, task, task, ...] in the mean over these; run and tested first, and corrected for their own number."""
    expected: tuple[Literal["higher", "lower", "equivalent", "not higher", "not lower", ""], ...] = ()
    """What the hypothesis says of the first arm of each of `deciding`, "" where it says nothing."""
    further_seeds: tuple[bounds.Natural, ...] = ()
    """Beyond `seeds`, of what `deciding` compares alone: its arms on its tasks."""
    question: Literal["these languages", "languages like these"] = "these languages"
    """What verdicts speak of: the languages that are evaluated, or others like them, which takes far more to show."""
    compare_unlike: bool = False
    """Claim differences also between arms that were not computed alike (other versions, device, precision, threads)."""
    cards: bounds.Distinct[str] = ()
    """Files with cards of your own (.py, .toml, .yaml), relative to the recipe's folder; named like built-in ones."""
    substitutions: tuple[Substitution, ...] = ()
    vary: dict[str, tuple[Any, ...]] = {}
    """Fields, named as for `--set`, and the values of each that are tried, all with all. Of each arm and task the
    setting with the best English dev score is the result, and the report says how many were tried. What decides which
    dev rows are scored, and how often, is the same in all."""
    limit: bounds.Count | None = None
    """Rows of a language and split that are read at most, for a quick look that is no result (`--limit`)."""

    @property
    def run_name(self) -> str:
        """What its run is called: a quick look is another one than the experiment."""
        return f"{self.name}{self.mark}"

    @property
    def mark(self) -> str:
        """What sets a quick look apart in names and paths."""
        return "" if self.limit is None else f"@limit-{self.limit}"

    @model_validator(mode="before")
    @classmethod
    def _first_encoder(cls, given: Any) -> Any:
        several = given.get("encoders") if isinstance(given, dict) else None
        if not several or not isinstance(several, list | tuple) or "encoder" in given:
            return given
        return {**given, **dict(EncoderChoice.model_validate(several[0]))}

    @model_validator(mode="after")
    def _check(self) -> RecipeParts:
        first = next(iter(self.encoders), None)
        if first is not None and (first.encoder, first.revision) != (self.encoder, self.revision):
            raise UsageError(f"recipe {self.name} has `encoder` and `encoders`", fix="name one encoder or several")
        for what, names in (
            ("intermediate", [arm.name for arm in self.intermediates]),
            ("target", [target.task for target in self.targets]),
            ("seed", [str(seed) for seed in (*self.seeds, *self.further_seeds)]),
        ):
            doubled = sorted({name for name in names if names.count(name) > 1})
            if doubled:
                raise UsageError(f"recipe {self.name}: {what} '{doubled[0]}' is there twice")
            if not names:
                raise UsageError(f"recipe {self.name}: no {what} given")
        return self
