"""What inference plugs into the core."""

from viaduct.doors import Room

ROOM = Room("inference")
