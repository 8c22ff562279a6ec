"""The deciding comparisons of multimodal_e5 with twice the steps; see pack.py and run.py.

Hypothesis, stated before the run: that of multimodal_e5. Images are searched only in the languages of the captions that
are trained on, so that a parcel has to hold no other languages.

    python pocket/pack.py pocket/multimodal_e5_gpu.py pictures.zip --data FOLDER --encoder multilingual-e5-small \\
        --tower vit-s --languages de,zh --side 56
    python3 pocket/run.py pictures.zip OUT --minutes 8
"""

from viaduct.recipes import multimodal_e5
from viaduct.recipes.pieces import larger
from viaduct.runs.spec import Intermediate, Recipe


def _searched_in_few(arm: Intermediate) -> Intermediate:
    if arm.captions is None or not arm.captions.retrieval_languages:
        return arm
    captions = arm.captions.model_copy(update={"retrieval_languages": multimodal_e5.THREE})
    return arm.model_copy(update={"captions": captions})


def recipe() -> Recipe:
    """{none, contrast and captions with a control each, three premises} x two targets x nine seeds."""
    asked = larger(multimodal_e5.recipe(), 2, ("tatoeba", "xnli"))
    return asked.model_copy(update={"intermediates": tuple(map(_searched_in_few, asked.intermediates))})
