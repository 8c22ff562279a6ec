"""The stage that is above the torch line."""

from viaduct.doors import Room

ROOM = Room("runs", stage_kinds=("viaduct.runs.score:SCORE",))
