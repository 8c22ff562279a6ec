"""The room of inference, which adds the Predict stage to the core."""

from viaduct.doors import Room

ROOM = Room("inference", stage_kinds=("viaduct.inference.predict:PREDICT",))
