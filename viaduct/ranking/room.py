"""What the ranking package plugs into the core: its command."""

from viaduct.doors import Room

ROOM = Room("ranking", commands=("viaduct.ranking.commands:RANK",))
