"""What serving plugs into the core: smaller models, other engines, and what a model costs."""

from viaduct.doors import Room

ROOM = Room(
    "serving",
    stage_kinds=(
        "viaduct.serving.distil:DISTIL",
        "viaduct.serving.compress:COMPRESS",
        "viaduct.serving.measure:MEASURING",
    ),
    sections=("viaduct.serving.section:SECTION",),
    fields=("viaduct.serving.compression:COMPRESSION", "viaduct.serving.measure:MEASURE"),
)
