"""What the generated world plugs into the core: its command and its recipe field."""

from viaduct.doors import Room

ROOM = Room(
    "miniature", commands=("viaduct.miniature.commands:MINIATURE",), fields=("viaduct.miniature.field:MINIATURE",)
)
