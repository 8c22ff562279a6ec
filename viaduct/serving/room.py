"""Serving: engines, export, smaller models, and what a model costs."""

from viaduct.doors import Room

ROOM = Room("serving", sections=("viaduct.serving.section:SECTION",))
