"""What training plugs into the core."""

from viaduct.doors import Room

ROOM = Room("training", sections=("viaduct.report.forgetting:SECTION",))
