"""The deciding comparisons of xstilts_e5 with twice the steps; see pack.py and run.py.

Hypothesis, stated before the run: that of xstilts_e5, and that MNLI's cost in retrieval grows with the number of steps.

    python pocket/pack.py pocket/xstilts_e5_gpu.py text.zip --data FOLDER --encoder multilingual-e5-small \\
        --languages ar,bg,de,el,es,fr,hi,ru,sw,th,tr,ur,vi,zh
    python3 pocket/run.py text.zip OUT --minutes 8
"""

from viaduct.recipes import xstilts_e5
from viaduct.recipes.pieces import larger
from viaduct.runs.spec import Recipe


def recipe() -> Recipe:
    """{none, longer, MNLI, MNLI held back, SQuAD} x five targets x nine seeds."""
    return larger(xstilts_e5.recipe(), 2, ("tatoeba", "panx", "udpos", "xquad", "xnli"))
