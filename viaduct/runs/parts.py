"""The core's part of a recipe, as frozen models; `viaduct.runs.spec` adds the fields that rooms bring.

Literals here are identity: changing one changes the fingerprint of the stages that use it. Where to run (device,
threads, store, data folder) is not part of a recipe.
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
    """A frozen specification; unknown keys, and numbers that are not finite or out of bounds, are refused."""


class Training(Spec):
    """How one stage is trained: AdamW with linear warm-up and decay, in batches with a token budget."""

    learning_rate: bounds.Rate = 2e-5
    """Peak learning rate of the encoder."""
    head_learning_rate: bounds.Rate | None = None
    """Peak learning rate of the head's own parameters; None: same as the encoder's."""
    epochs: bounds.Above = 3.0
    """Passes over the training rows."""
    max_steps: bounds.Count | None = None
    """Maximum number of optimiser steps; None: `epochs` alone decides."""
    batch_tokens: bounds.Count = 2048
    """Approximate number of non-padding tokens per optimiser step."""
    max_length: bounds.Length = 128
    """Maximum tokens per row; longer rows are truncated (pairs), split (tagging) or windowed (spans)."""
    stride: bounds.Natural = 64
    """Spans: number of tokens by which neighbouring windows overlap; at most half of `max_length`."""
    warmup_fraction: bounds.Share = 0.1
    """Share of the steps spent warming up."""
    weight_decay: bounds.Weight = 0.0
    """Weight decay of weight matrices; embeddings, biases and LayerNorm have none."""
    clip_norm: bounds.Above = 1.0
    """Maximum global gradient norm; larger gradients are clipped."""
    evaluations: bounds.Evaluations = 5
    """How often English dev is scored, evenly spaced up to the last step; the best checkpoint is kept."""
    dev_rows: bounds.Count | None = 1000
    """Number of English dev rows scored at each evaluation (the first ones); None: all."""
    patience: bounds.Count | None = None
    """Evaluations without improvement before training stops early; None: it never does."""
    train_rows: bounds.Count | None = None
    """Number of training rows used (a seeded sample); None: all."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Precision of matrix products while training; weights and optimiser are float32. "auto": on GPUs bf16 if they
    support it, else fp16. CPUs with bf16 instructions (see `viaduct doctor`) train 1.5 times as fast with bf16 at
    encoder width 384, and twice as fast at 768."""
    encoder: Literal["full", "lora", "frozen"] = later("full")
    """What is trained besides the head: "full": the whole encoder; "lora": low-rank changes of its linear layers, added
    to them at the end (arXiv 2106.09685, scaled by 2); "frozen": nothing, so that the head is a probe. Joint stages
    use `retention` instead."""
    lora_rank: bounds.Width = later(16)
    """Rank of the low-rank changes, for `encoder: lora`."""

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
        """Which part of the encoder is trained, in words; "" for all of it."""
        rank = f", adapter of rank {self.lora_rank}"
        return {"full": "", "lora": rank, "frozen": ", frozen encoder"}[self.encoder]


def _whole(training: Training) -> Training:
    if training.encoder != "full":
        raise UsageError(
            f"training.encoder is '{training.encoder}' where an encoder is made",
            fix="leave it out there: it is for arms' tasks and targets",
        )
    return training


WholeTraining = Annotated[Training, AfterValidator(_whole)]


class Architecture(Spec):
    """Shape of an XLM-R-like encoder that is trained from scratch."""

    layers: bounds.Layers = 4
    hidden: bounds.Width = 256
    """Width of the residual stream."""
    heads: bounds.Width = 4
    """Attention heads per layer."""
    feed_forward: bounds.Width = 1024
    """Inner width of the feed-forward layers."""
    vocabulary: bounds.Pieces = 8000
    """Number of pieces in the trained vocabulary, special ones included."""
    max_length: bounds.Length = 512
    """Longest input, in tokens."""
    dropout: bounds.ShareBelowAll = 0.1


class Pretrain(Spec):
    """An encoder trained from scratch, with its tokenizer, on text (masked LM) and parallel text (translation LM)."""

    name: str
    architecture: Architecture = Architecture()
    text: bounds.Some[str] = ("text",)
    """Cards of kind "text" to train on."""
    parallel: bounds.Distinct[str] = ()
    """Cards of kind "parallel" to train on: both sides in one row, both masked (TLM, arXiv 1901.07291)."""
    languages: bounds.Some[str] | None = None
    """Languages to train on; None: every language whose files are present."""
    parallel_share: bounds.ShareBelowAll = 0.3
    """Share of the training rows drawn from parallel text."""
    sampling_exponent: bounds.Share = 0.5
    """Languages are sampled with probability proportional to size ** sampling_exponent (XLM-R uses 0.3)."""
    mask_fraction: bounds.InnerShare = 0.15
    whole_words: bool = False
    """Mask all pieces of a word together; otherwise, in words of many pieces, one is guessed from its neighbours."""
    training: WholeTraining = Training(learning_rate=1e-3, epochs=1.0, batch_tokens=8192, weight_decay=0.01)
    seed: bounds.Natural = 1
    half_precision: bool = False
    """Store the encoder's weights in float16."""


class Replay(Spec):
    """Masked LM on plain text in many languages, added to every training step to counter forgetting."""

    text: bounds.Some[str] = ("text",)
    """Cards of kind "text" to replay."""
    languages: bounds.Some[str] | None = None
    """Languages to replay; None: every language whose text is present."""
    weight: bounds.Weight = 1.0
    """Weight of its loss when added to the stage's own loss."""
    batch_tokens: bounds.Count = 1024
    max_length: bounds.Length = 128
    lines: bounds.Count = 2000
    """Maximum number of lines per language (the first ones)."""
    sampling_exponent: bounds.Share = 0.3
    """Languages are sampled with probability proportional to size ** sampling_exponent."""
    mask_fraction: bounds.InnerShare = 0.15
    whole_words: bool = True


class Retention(Spec):
    """How an encoder is kept close to what it was before the stage."""

    kl: bounds.Weight = 0.0
    """Weight of KL(before || now) on the masked words of replayed text; needs `replay`."""
    l2_sp: bounds.Weight = 0.0
    """Weight of half the squared distance from the weights before the stage (L2-SP, arXiv 1802.01483)."""
    lora_rank: bounds.Width | None = None
    """Train only low-rank changes of this rank to the linear layers, scaled by 2 and added to them at the end (arXiv
    2106.09685); None: train the full weights."""
    freeze_embeddings: bool = False
    """Do not train the word embeddings."""
    interpolate: bounds.SomeShare = 1.0
    """Share of the weights after the stage in their average with those before it (arXiv 2109.01903); 1: no average."""


class Mixture(Spec):
    """How the members of a mixture are sampled, one per step."""

    sampling: Literal["proportional", "temperature", "uniform"] = "proportional"
    cap: bounds.Count | None = 2**14
    """Maximum number of rows that a member counts with when shares are computed; None: no maximum."""
    temperature: bounds.Above = 2.0
    """For `sampling: temperature`: shares are proportional to rows ** (1 / temperature)."""


class Saw(Spec):
    """What a ready-made encoder has been trained on, beyond plain text."""

    data: tuple[str, ...]
    """Names of cards or of other data sets (mnli, squad, quora, nllb, ...); none: plain text only."""
    source: str = Field(min_length=1)
    """Where this is documented: a paper, a model card, or whoever trained the encoder."""


class EncoderChoice(Spec):
    """One of several encoders, with fields as in the recipe; or the short form "owner/name@commit"."""

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

    With an `encoder`, the arm starts from one that others trained further, such as the text tower of a published model.

    By default, tasks are trained one after the other. With any of `together`, `replay`, `retention`, languages other
    than English, or a plug-in's field that requires it, everything is trained in one joint stage.
    """

    name: str
    encoder: str | None = folder(None)
    """The encoder that the arm starts from instead of the recipe's: a Hub name or a folder that
    `AutoModel.from_pretrained` opens, or that has open_clip's or M-CLIP's files of a text tower. Its tokenizer must
    give the same ids as that of the recipe's encoder."""
    revision: str | None = None
    """Hub revision (commit) of `encoder`."""
    parent: str | None = None
    """Arm from whose encoder `encoder` was trained ("none": the recipe's), with all weights of the same shape. Required
    for text towers. None: a plain encoder of any shape, which other arms may name as their parent."""
    encoder_saw: Saw | None = None
    """As in the recipe, but for the arm's `encoder`."""
    after: str | None = None
    """An earlier arm whose stages run before this arm's own, seed by seed; for example masked LM, then a task."""
    tasks: tuple[str, ...] = ()
    """Cards to train on, in this order unless they are trained jointly."""
    training: Training = Training()
    together: Mixture | None = None
    replay: Replay | None = None
    retention: Retention = Retention()
    languages: bounds.Some[str] = (ENGLISH,)
    """Languages of the tasks' train rows that are used; other than English: machine-translated, if a card has them."""
    longer_targets: bounds.Natural = 0
    """Extra steps for which this arm's targets are trained, beyond their own `max_steps`. An arm with nothing else is
    the control for an arm that spends as many steps on its intermediate task."""
    optional: bool = False
    """If data that the arm trains on are missing, leave it out and report that; otherwise missing data are an error."""


class Retrieval(Spec):
    """How sentences become vectors, and pairs of vectors become translations."""

    layers: bounds.Some[bounds.Natural] | Literal["all"] | None = None
    """Hidden layers to pool; 0 is the embeddings. With several, or "all", the best one on dev is used: on the task's
    own dev split (mining), else on the card `choose_on`. None: a sentence encoder is used as its makers intended (if it
    has been trained since, that is one candidate among the layers); any other encoder uses "all" if there are dev data,
    else the layer two thirds of the way up."""
    choose_on: str = "ntrex"
    """Card of kind "parallel" on which the layer is chosen if the task has no dev split."""
    pooling: Literal["mean", "first"] = "mean"
    """"mean": the mean over all tokens; "first": the state of the first token (CLS)."""
    prompt: str | None = later(None)
    """Text put before every sentence; None: the prompt of a sentence encoder's makers if it is used as they intended,
    else nothing."""
    centre: bool = False
    """Subtract each side's mean vector, which removes what distinguishes the languages (published numbers do not)."""
    neighbours: bounds.Count = 4
    """Mining: number k of nearest neighbours in the margin (XTREME: 4)."""
    margin: Literal["ratio", "distance", "absolute"] = "ratio"
    """Mining: the cosine divided by the mean over both sides' neighbours, minus it, or alone (arXiv 1811.01136)."""
    candidates: Literal["max", "intersection", "forward", "backward"] = "max"
    """Mining: the best pairs of both directions, one to one; only pairs found in both; or those of one direction."""

    @property
    def is_chosen(self) -> bool:
        """Whether one of several layers is to be chosen."""
        return self.layers == "all" or (self.layers is not None and len(self.layers) > 1)


class TargetParts(Spec):
    """One target task: trained in English, evaluated in every language."""

    task: str
    training: Training = Training()
    languages: bounds.Some[str] | Literal["all", "available"] = "all"
    """"all": every language of the card, whose files must be present; "available": those whose labelled files are
    present (the report lists the others); or a list."""
    split: str = "test"
    retrieval: Retrieval = Retrieval()
    """Used by retrieval and mining tasks only."""
    products: Literal["fp32", "bf16", "fp16"] = later("fp32")
    """Precision of matrix products in prediction, on any device: bf16 and fp16 are faster on GPUs, and may occasionally
    change a prediction. Training has its own `precision`."""


class Substitution(Spec):
    """A missing split, and what is used in its place. Nothing is ever substituted unless declared in this way."""

    task: str
    split: Literal["train", "dev", "test"]
    use_task: str | None = None
    """Card to read instead; None: the same card."""
    use_split: Literal["train", "dev", "test"]
    part: tuple[bounds.Share, bounds.Share] = (0.0, 1.0)
    """The range of its groups to use, such as (0.0, 0.9); rows with the same context or first text form a group."""
    without_contexts_of: str | None = None
    """Drop rows whose context occurs in this card's English test split."""
    without_rows_of: bounds.Distinct[str] = later(())
    """Drop rows that occur in these cards' test splits, in any language whose files are present (letters and digits are
    compared)."""
    why: str = wording()

    def used(self) -> str:
        """What is used in place of the split, in words."""
        source = f"{self.use_task or self.task} {self.use_split}"
        share = "" if self.part == (0.0, 1.0) else f", part {self.part[0]:g}-{self.part[1]:g}"
        without = f", without the contexts of {self.without_contexts_of}" if self.without_contexts_of else ""
        without += f", without the rows of {', '.join(self.without_rows_of)}" if self.without_rows_of else ""
        return f"{source}{share}{without}"

    def words(self) -> str:
        """The substitution in words, for reports."""
        return f"{self.task} {self.split} := {self.used()} ({self.why})"


class RecipeParts(Spec):
    """An experiment: encoder x intermediates x targets x seeds, with the hypothesis stated before the run."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", max_length=100)
    hypothesis: str
    encoder: str | Pretrain = folder()
    """A Hub name, a folder that `AutoModel.from_pretrained` opens, or an encoder to pretrain."""
    revision: str | None = None
    """Hub revision (commit) of the encoder; None only for folders and encoders to pretrain."""
    encoders: tuple[EncoderChoice, ...] = ()
    """Several encoders in place of `encoder`: each gets its own run, and one page shows all of them."""
    encoder_saw: Saw | None = None
    """What a ready-made encoder has been trained on; None: what is known from its name or its model card, else nothing.
    Tasks that it has seen are marked, and decide no claim. Changes no result."""
    allow_unknown: bool = False
    """Run even if the encoder's tokenizer does not know most pieces of the texts. Changes no result."""
    intermediates: tuple[ArmParts, ...] = (ArmParts(name=BASELINE),)
    targets: tuple[TargetParts, ...]
    seeds: tuple[bounds.Natural, ...] = (1,)
    compare: tuple[tuple[str, str], ...] = ()
    """Pairs of arms whose difference (first minus second) the report tests, besides each arm against the baseline."""
    deciding: tuple[tuple[str, ...], ...] = ()
    """The few comparisons that decide the hypothesis: [arm, against] for the mean over tasks, [arm, against, task], or
    [arm, against, task, task, ...] for the mean over these; run and tested first, corrected for their own number."""
    expected: tuple[Literal["higher", "lower", "equivalent", "not higher", "not lower", ""], ...] = ()
    """For each of `deciding`, in order: what the hypothesis says about its first arm; "" if it says nothing."""
    further_seeds: tuple[bounds.Natural, ...] = ()
    """Seeds in addition to `seeds`, only for what `deciding` compares: its arms on its tasks. Nothing is decided there
    before all of them have scores."""
    question: Literal["these languages", "languages like these"] = "these languages"
    """What verdicts are about: the evaluated languages, or others like them, which takes far more evidence."""
    compare_unlike: bool = False
    """Also claim differences between arms computed under unlike conditions (versions, device, precision, threads)."""
    cards: bounds.Distinct[str] = ()
    """Files with your own cards (.py, .toml, .yaml), relative to the recipe's folder; named like built-in ones."""
    substitutions: tuple[Substitution, ...] = ()
    vary: dict[str, tuple[Any, ...]] = {}
    """Fields to vary, named as for `--set`, with the values to try; all combinations are run. For each arm and task the
    setting with the best English dev score is the result, and the report says how many were tried. All settings must
    score the same dev rows equally often."""
    limit: bounds.Count | None = None
    """Maximum number of rows read per language and split, for a quick look that is not a result (`--limit`)."""

    @property
    def run_name(self) -> str:
        """The name of its run; a quick look is a different run from the experiment."""
        return f"{self.name}{self.mark}"

    @property
    def mark(self) -> str:
        """The suffix of a quick look in names and paths; "" without `limit`."""
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
            raise UsageError(f"recipe {self.name} has both `encoder` and `encoders`", fix="name one encoder or several")
        for what, names in (
            ("intermediate", [arm.name for arm in self.intermediates]),
            ("target", [target.task for target in self.targets]),
            ("seed", [str(seed) for seed in (*self.seeds, *self.further_seeds)]),
        ):
            doubled = sorted({name for name in names if names.count(name) > 1})
            if doubled:
                raise UsageError(f"recipe {self.name}: {what} '{doubled[0]}' appears twice")
            if not names:
                raise UsageError(f"recipe {self.name}: no {what} given")
        if not self.hypothesis.strip():
            fix = "write what you expect to find, or that you expect nothing"
            raise UsageError(f"recipe {self.name}: the hypothesis is empty", fix=fix)
        return self
