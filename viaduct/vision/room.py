"""The image room's plug-ins for the core: row kinds, cards, a section of the report, and recipe fields."""

from viaduct.doors import Room

ROOM = Room(
    "vision",
    row_kinds=("viaduct.vision.rows:CAPTIONED", "viaduct.vision.rows:PICTURED"),
    cards=(
        "viaduct.vision.cards.coco:CARD",
        "viaduct.vision.cards.coco:KARPATHY",
        "viaduct.vision.cards.flickr30k:CARD",
        "viaduct.vision.cards.flickr8k:CARD",
        "viaduct.vision.cards.flickr8k:JOINED",
        "viaduct.vision.cards.multi30k:CARD",
        "viaduct.vision.cards.multi30k:TASK2",
        "viaduct.vision.cards.xm3600:CARD",
        "viaduct.vision.cards.xflickrco:CARD",
        "viaduct.vision.cards.emoji:CARD",
        "viaduct.vision.cards.storybooks:CARD",
        "viaduct.vision.cards.snli_ve:CARD",
        "viaduct.vision.cards.snli_ve:JOINED",
    ),
    sections=("viaduct.vision.section:SECTION",),
    fields=("viaduct.vision.fields:CAPTIONS", "viaduct.vision.pictured:PICTURED"),
)
