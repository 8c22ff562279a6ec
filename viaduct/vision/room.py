"""What the image room plugs into the core: towers, captions, and what they are good for."""

from viaduct.doors import Room

ROOM = Room("vision")
