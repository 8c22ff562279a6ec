"""What inference plugs into the core: the stage that predicts."""

from viaduct.doors import Room

ROOM = Room("inference", stage_kinds=("viaduct.inference.predict:PREDICT",))
