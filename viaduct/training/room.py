"""What training plugs into the core: the stages that train, and reports on forgetting and training curves."""

from viaduct.doors import Room

ROOM = Room(
    "training",
    stage_kinds=(
        "viaduct.training.pretrain:PRETRAIN",
        "viaduct.training.adopt:ADOPT",
        "viaduct.training.train:TRAIN",
        "viaduct.training.joint:JOINT",
    ),
    sections=("viaduct.report.forgetting:SECTION", "viaduct.report.curves:SECTION"),
)
