"""What fusion plugs into the core: the choice of targets' train rows, and encoders that read two languages at once."""

from viaduct.doors import Room

ROOM = Room(
    "fusion",
    cards=("viaduct.fusion.cards:CARDS",),
    stage_kinds=(
        "viaduct.fusion.train_on:TRAIN_ON",
        "viaduct.fusion.fuse:FUSE",
        "viaduct.fusion.predict_fused:PREDICT_FUSED",
    ),
    fields=(
        "viaduct.fusion.target_data:TRAIN",
        "viaduct.fusion.settings:FUSION",
        "viaduct.fusion.field:FUSED",
    ),
    sections=("viaduct.fusion.section:SECTION",),
)
