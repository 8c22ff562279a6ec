"""Which intermediate task helps multilingual-e5-small, and what does it do to its alignment? Real files, CPU.

Hypothesis, stated before the run: this encoder was trained to align sentences of many languages, so an English
intermediate task does to it the opposite of what arXiv 2005.13013 found for XLM-R. MNLI costs it retrieval (Tatoeba at
the layer that is best on other parallel text), holding the weights near where they were (L2-SP) gives back part of
that, and in tagging and question answering neither MNLI nor SQuAD helps more than as many further steps on the target.

Design: each arm is the same encoder after one intermediate task of STEPS steps; the control "longer" has no task and
trains each target STEPS steps longer. Stand-ins for splits that are not freely available are declared (pieces.py,
xstilts_small.py), and rows of PAN-X and UD that are evaluated are taken out of their training sets. In every arm that
embeds sentences the layer is chosen on NTREX, which is not scored.

Analysis: the five comparisons of `deciding` with nine seeds, corrected for five; all others have three seeds, numbers
and intervals. Tasks whose own training data an arm trains on (MNLI before XNLI, SQuAD before XQuAD) are left out of the
means that decide. Stopping rule: all nine seeds, then the report; nothing is looked at before to decide on more.

Pilot (seeds 101 to 103, 100 steps): Tatoeba 92.6 without, 77.8 (standard deviation 1.1) after MNLI at the best layer
(one seed: 80.1 with L2-SP of .1, 92.6 with 1, which hardly lets the encoder move; so .3);
PAN-X 47.6 (1.0) outside English and -.5 (1.5) after MNLI; XNLI 47.5 (.8). With nine seeds and five comparisons a
difference of 2.2 points on one task, of 1.4 in the mean over three, is then found in four of five such runs; three
seeds show differences of ten points and more in the others.

What the encoder has seen before (NLI, SQuAD, Quora among others) is on the page: the run says what *further* training
does to an encoder with this history.

Command:   viaduct run xstilts_e5 --data FOLDER --set encoder=ENCODER --processes 2
Cost:      about 14 hours on two cores with bfloat16 and 142 GB of disk (a few with --keep needed), by forecast. What
           decides comes first, seed by seed; Ctrl-C at any time, and the same command goes on
Result:    docs/log.md
"""

from viaduct.recipes.pieces import replacing
from viaduct.recipes.xstilts_small import SUBSTITUTIONS as SMALL_SUBSTITUTIONS
from viaduct.runs.spec import Intermediate, Mixture, Recipe, Retention, Retrieval, Substitution, Target, Training

STEPS = 150
PAIRS = Training(
    learning_rate=5e-5,
    head_learning_rate=5e-4,
    epochs=100.0,
    max_steps=STEPS,
    batch_tokens=2_048,
    max_length=128,
    evaluations=2,
    dev_rows=300,
    precision="bf16",
)
TAGS = PAIRS.model_copy(update={"learning_rate": 1e-4, "head_learning_rate": 1e-3})
QUESTIONS = TAGS.model_copy(update={"max_length": 256, "stride": 128, "dev_rows": 200})
TARGET_QUESTIONS = QUESTIONS.model_copy(update={"max_steps": 200})
MIXED = PAIRS.model_copy(update={"max_length": 192, "dev_rows": 100})
RETRIEVAL = Retrieval(layers="all")

TIME = "a part of it, for time"
OWN = (
    Substitution(
        task="panx",
        split="train",
        use_split="train",
        part=(0.0, 0.9),
        without_rows_of=("panx",),
        why="the rest chooses the checkpoint; sentences that are evaluated are left out",
    ),
    Substitution(
        task="udpos",
        split="train",
        use_split="train",
        without_rows_of=("udpos",),
        why="sentences that are evaluated are left out",
    ),
    Substitution(task="xquad", split="test", use_split="test", part=(0.0, 0.2), why=TIME),
    Substitution(task="tatoeba", split="test", use_split="test", part=(0.0, 0.5), why=TIME),
)
SUBSTITUTIONS = replacing(SMALL_SUBSTITUTIONS, OWN)
NLI = ("anli", "mnli", "snli")
SINGLE = ("ccg_pmb", "hellaswag", "cosmosqa", "commonsenseqa", "qqp")
TRANSFER = ("udpos", "panx", "xquad")


def recipe() -> Recipe:
    """{none, longer targets, eight intermediate tasks, all together, MNLI held back} x seven XTREME tasks."""
    return Recipe(
        name="xstilts_e5",
        hypothesis=(
            "For an encoder that is aligned already MNLI costs retrieval, L2-SP gives part of it back, and neither MNLI"
            " nor SQuAD helps tagging and question answering more than as many further steps on the target."
        ),
        encoder="multilingual-e5-small",
        intermediates=(
            Intermediate(name="none"),
            Intermediate(name="mnli", tasks=("mnli",), training=PAIRS),
            Intermediate(name="mnli+l2_sp", tasks=("mnli",), training=PAIRS, retention=Retention(l2_sp=0.3)),
            Intermediate(name="longer", longer_targets=STEPS),
            Intermediate(name="squad", tasks=("squad",), training=QUESTIONS),
            *(Intermediate(name=name, tasks=(name,), training=PAIRS) for name in SINGLE),
            Intermediate(name="anli_plus", tasks=NLI, training=PAIRS, together=Mixture(cap=None)),
            Intermediate(name="all_together", tasks=(*NLI, *SINGLE, "squad"), training=MIXED, together=Mixture()),
        ),
        targets=(
            Target(task="tatoeba", languages="available", retrieval=RETRIEVAL),
            Target(task="panx", training=TAGS, languages="available"),
            Target(task="udpos", training=TAGS, languages="available"),
            Target(task="xquad", training=TARGET_QUESTIONS, languages="available"),
            Target(task="tydiqa", training=TARGET_QUESTIONS, languages="available"),
            Target(task="xnli", training=PAIRS, languages="available"),
            Target(task="bucc", languages="available", retrieval=RETRIEVAL),
        ),
        seeds=(1, 2, 3),
        further_seeds=(4, 5, 6, 7, 8, 9),
        deciding=(
            ("mnli", "none", "tatoeba"),
            ("mnli+l2_sp", "mnli", "tatoeba"),
            ("mnli", "none", *TRANSFER),
            ("mnli", "longer", *TRANSFER),
            ("squad", "none", "xnli", "udpos", "panx"),
        ),
        expected=("lower", "higher", "", "not higher", ""),
        compare=(("all_together", "mnli"),),
        substitutions=SUBSTITUTIONS,
        measure=None,
    )
