"""What a first look plugs into the core."""

from viaduct.doors import Room

ROOM = Room("ranking", commands=("viaduct.ranking.commands:RANK",))
