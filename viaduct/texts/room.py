"""What tasks on a single text, and tasks with numbers, plug into the core."""

from viaduct.doors import Room

ROOM = Room("texts", row_kinds=("viaduct.texts.kinds:KINDS",), cards=("viaduct.texts.sib200:CARD",))
