"""What the fetching of data and models plugs into the core: its command."""

from viaduct.doors import Room

ROOM = Room("fetching", commands=("viaduct.fetching.commands:FETCH",))
