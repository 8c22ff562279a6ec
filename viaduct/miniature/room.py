"""What the generated world plugs into the core."""

from viaduct.doors import Room

ROOM = Room(
    "miniature", commands=("viaduct.miniature.commands:MINIATURE",), fields=("viaduct.miniature.field:MINIATURE",)
)
