"""The grid of arXiv 2005.13013 with a very small encoder on the real files that are freely at hand; two CPU cores.

Hypothesis, stated before the run: as in real_small, an encoder of 9 million parameters transfers next to nothing
outside English, so with three seeds most differences cannot be told from noise; where one is shown, it is in retrieval
(Tatoeba) and in tagging, and intermediate tasks with long texts (SQuAD, Cosmos QA) cost retrieval less than pairs do.

Command:   cp -r STORE/small-4x256/pretrain/encoder small-4x256      (of a finished real_small, in its --store)
           viaduct run xstilts_small --data FOLDER --store OTHER --processes 2 --set encoder=small-4x256
           (without --set it pretrains: 50 minutes more)
Cost:      about three hours and a half on two cores, 9 GB of disk
Result:    docs/log.md: with two seeds, in which nothing can be told; three seeds of a part of it
Data:      that of real_small, and anli/ snli/ qqp/ hellaswag/ commonsenseqa/ cosmosqa/ ccg_pmb/ squad/

Of most intermediate tasks only evaluation files are freely at hand: every stand-in is declared below and shown in the
report. CCGbank needs a licence; the Parallel Meaning Bank is another corpus with supertags, and is named so. ANLI+ is
three cards drawn in proportion to their size, as the paper's code does it. All arms have the same number of steps, and
parts of the evaluation sets are left out for time.
"""

from viaduct.recipes.pieces import FREE_STAND_INS, SMALL_ENCODER, SMALL_RETRIEVAL, replacing
from viaduct.runs.spec import Intermediate, Mixture, Recipe, Replay, Substitution, Target, Training

STEPS = 150
PAIRS = Training(
    learning_rate=2e-4,
    epochs=50.0,
    max_steps=STEPS,
    batch_tokens=2_048,
    max_length=128,
    evaluations=2,
    dev_rows=300,
)
TAGS = PAIRS.model_copy(update={"learning_rate": 3e-4, "max_steps": STEPS // 2})
QUESTIONS = PAIRS.model_copy(update={"learning_rate": 3e-4, "max_length": 256, "stride": 128, "dev_rows": 200})
MIXED = PAIRS.model_copy(update={"max_length": 192, "dev_rows": 100})
REPLAY = Replay(text=("text",), batch_tokens=1_024, lines=1_000)

MISSING = "the official train set is not here"
REST = "the rest is trained on"
TIME = "a part of it, for time"


def divided(task: str, without_contexts_of: str | None = None) -> tuple[Substitution, ...]:
    """Nine tenths of a dev set to train on, the rest to choose the checkpoint."""
    whole = Substitution(
        task=task, split="train", use_split="dev", part=(0.0, 0.9), without_contexts_of=without_contexts_of, why=MISSING
    )
    return whole, whole.model_copy(update={"split": "dev", "part": (0.9, 1.0), "why": REST})


STAND_INS = (
    *(
        Substitution(
            task="ccg_pmb",
            split=split,
            use_split=split,
            without_rows_of=("tatoeba", "udpos"),
            why="the Parallel Meaning Bank has sentences of Tatoeba, which are evaluated on",
        )
        for split in ("train", "dev")
    ),
    *divided("anli"),
    Substitution(task="snli", split="train", use_split="dev", why=MISSING),
    Substitution(task="snli", split="dev", use_split="test", part=(0.0, 0.1), why="the dev set is trained on"),
    Substitution(task="qqp", split="train", use_task="qqp_bimpm", use_split="dev", why=MISSING),
    Substitution(
        task="qqp",
        split="dev",
        use_task="qqp_bimpm",
        use_split="test",
        part=(0.0, 0.1),
        why="the official dev set is not here",
    ),
    *divided("squad2", without_contexts_of="xquad"),
    *divided("hellaswag"),
    *divided("cosmosqa"),
    Substitution(
        task="xnli",
        split="test",
        use_split="dev",
        part=(0.0, 0.2),
        why=f"the official test labels are not here; {TIME}",
    ),
    Substitution(
        task="panx",
        split="test",
        use_split="dev",
        part=(0.0, 0.15),
        why=f"the official test labels are not here; {TIME}",
    ),
    Substitution(task="xquad", split="test", use_split="test", part=(0.0, 0.1), why=TIME),
    Substitution(task="bucc", split="dev", use_split="dev", part=(0.0, 0.15), why=TIME),
    Substitution(
        task="bucc",
        split="test",
        use_split="dev",
        part=(0.15, 0.3),
        why=f"the test sentences are not here; {TIME}",
    ),
)
SUBSTITUTIONS = replacing(FREE_STAND_INS, STAND_INS)

ALL = ("anli", "mnli", "snli", "qqp", "squad2", "squad", "hellaswag", "ccg_pmb", "cosmosqa", "commonsenseqa")


def recipe() -> Recipe:
    """{none, nine tasks, all together, MNLI with replayed text} x seven XTREME tasks x three seeds."""
    single = dict.fromkeys(("mnli", "qqp", "hellaswag", "ccg_pmb", "cosmosqa", "commonsenseqa"), PAIRS)
    single |= dict.fromkeys(("squad2", "squad"), QUESTIONS)
    return Recipe(
        name="xstilts_small",
        hypothesis=(
            "With three seeds most differences of so small an encoder cannot be told from noise; what can is in "
            "retrieval and tagging, where tasks with long texts cost less than tasks with pairs."
        ),
        encoder=SMALL_ENCODER,
        intermediates=(
            Intermediate(name="none"),
            Intermediate(name="anli_plus", tasks=("anli", "mnli", "snli"), training=PAIRS, together=Mixture(cap=None)),
            *(Intermediate(name=name, tasks=(name,), training=training) for name, training in single.items()),
            Intermediate(name="all_together", tasks=ALL, training=MIXED, together=Mixture()),
            Intermediate(name="mnli+replay", tasks=("mnli",), training=PAIRS, replay=REPLAY),
        ),
        targets=(
            Target(task="xnli", training=PAIRS, languages="available"),
            Target(task="udpos", training=TAGS, languages="available"),
            Target(task="panx", training=TAGS, languages="available"),
            Target(task="xquad", training=QUESTIONS, languages="available"),
            Target(task="tydiqa", training=QUESTIONS, languages="available"),
            Target(task="bucc", languages="available", retrieval=SMALL_RETRIEVAL),
            Target(task="tatoeba", languages="available", retrieval=SMALL_RETRIEVAL),
        ),
        seeds=(1, 2, 3),
        deciding=(("mnli", "none"), ("squad", "mnli", "tatoeba")),
        compare=(("mnli+replay", "mnli"), ("all_together", "mnli")),
        substitutions=SUBSTITUTIONS,
    )
