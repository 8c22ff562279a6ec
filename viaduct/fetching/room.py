"""What the fetching of data and models plugs in: its command."""

from viaduct.doors import Room

ROOM = Room("fetching", commands=("viaduct.fetching.commands:FETCH",))
