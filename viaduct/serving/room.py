"""What serving plugs into the core: smaller models, other engines, and measuring what a model costs."""

from viaduct.doors import Room

ROOM = Room(
    "serving",
    stage_kinds=(
        "viaduct.serving.distil:DISTIL",
        "viaduct.serving.compress:COMPRESS",
        "viaduct.serving.measure:MEASURING",
        "viaduct.serving.measure:MEASURING_SEARCH",
    ),
    sections=("viaduct.serving.section:SECTION",),
    commands=("viaduct.serving.commands:EXPORT", "viaduct.serving.commands:PROFILE"),
    fields=("viaduct.serving.compression:COMPRESSION", "viaduct.serving.measure:MEASURE"),
)
