"""The deciding comparisons of multimodal_e5 with twice the steps; see pack.py and run.py.

Hypothesis, stated before the run: that of multimodal_e5.

    python pocket/pack.py pocket/multimodal_e5_gpu.py pictures.zip --data FOLDER --encoder multilingual-e5-small \\
        --tower vit-s --languages ar,bg,de,el,es,fr,hi,ru,sw,th,tr,ur,vi,zh
    python3 pocket/run.py pictures.zip OUT --minutes 8
"""

from viaduct.recipes import multimodal_e5
from viaduct.recipes.pieces import larger
from viaduct.runs.spec import Recipe


def recipe() -> Recipe:
    """{none, contrast and captions with a control each, three premises} x two targets x nine seeds."""
    return larger(multimodal_e5.recipe(), 2, ("tatoeba", "xnli"))
