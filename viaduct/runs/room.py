"""The Score stage, the only one above the torch line, and the command that creates a recipe."""

from viaduct.doors import Room

ROOM = Room("runs", stage_kinds=("viaduct.runs.score:SCORE",), commands=("viaduct.runs.new:NEW",))
