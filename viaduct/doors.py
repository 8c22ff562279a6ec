"""The six doors (extension points) through which rooms and third-party packages plug into the core, and the only list
of rooms.

A room is a module with a `ROOM`. What it offers is named as "module:NAME" and imported when its door is first used, so
that `viaduct --help` loads no room's code. An installed package offers a `Room` of its own through an entry point in
the group `viaduct.plugins`.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Protocol, TypeVar

from viaduct.errors import UsageError

ROOMS = (
    "viaduct.tasks.room",
    "viaduct.training.room",
    "viaduct.inference.room",
    "viaduct.runs.room",
    "viaduct.fetching.room",
    "viaduct.texts.room",
    "viaduct.vision.room",
    "viaduct.serving.room",
    "viaduct.fusion.room",
    "viaduct.ranking.room",
    "viaduct.miniature.room",
)
"""Modules with a `ROOM`, in the order in which their contributions are listed."""

ENTRY_POINTS = "viaduct.plugins"

Door = Literal["row_kinds", "cards", "stage_kinds", "sections", "fields", "commands"]


class Named(Protocol):
    """Anything that comes through a door."""

    @property
    def name(self) -> str:
        """Unique among what the door offers."""


@dataclass(frozen=True)
class Room:
    """What one room or package adds: objects, or "module:NAME" references to an object or a tuple of them."""

    name: str
    row_kinds: tuple[str | Named, ...] = ()
    """`viaduct.tasks.kind.RowKind`"""
    cards: tuple[str | Named, ...] = ()
    """`viaduct.tasks.card.Task`"""
    stage_kinds: tuple[str | Named, ...] = ()
    """`viaduct.runs.stage.StageKind`"""
    sections: tuple[str | Named, ...] = ()
    """`viaduct.report.section.Section`"""
    fields: tuple[str | Named, ...] = ()
    """`viaduct.runs.field.RecipeField`"""
    commands: tuple[str | Named, ...] = ()
    """`viaduct.command.Command`"""


Offered = TypeVar("Offered")


@cache
def rooms() -> tuple[Room, ...]:
    """The built-in rooms, then those of installed packages in the order of their entry points' names.

    Raises UsageError for a package whose entry point cannot be loaded or is not a `Room`.
    """
    points = sorted(importlib.metadata.entry_points(group=ENTRY_POINTS), key=lambda point: point.name)
    named = [*((f"{module}:ROOM", "viaduct") for module in ROOMS), *((point.value, point.name) for point in points)]
    found: dict[str, Room] = {}
    for reference, name in named:
        room = _from_room(reference, name)
        if not isinstance(room, Room):
            raise UsageError(f"the plug-in '{name}' gives {reference}, which is not a viaduct.doors.Room")
        if room.name in found:
            raise UsageError(f"the plug-in '{name}' has a room '{room.name}', and that name is taken", fix="rename it")
        found[room.name] = room
    return tuple(found.values())


@cache
def _offered(door: Door) -> Mapping[str, object]:
    found: dict[str, object] = {}
    owner: dict[str, str] = {}
    for room in rooms():
        for given in getattr(room, door):
            made = _from_room(given, room.name) if isinstance(given, str) else given
            several: tuple[Any, ...] = made if isinstance(made, tuple) else (made,)
            for one in several:
                if not isinstance(getattr(one, "name", None), str):
                    raise UsageError(
                        f"the plug-in '{room.name}' offers {one!r} through the door {door}: it has no name"
                    )
                if one.name in found:
                    raise UsageError(
                        f"'{one.name}' comes through the door {door} twice: from {owner[one.name]} and {room.name}",
                        fix="uninstall one of the two packages, or rename what it offers",
                    )
                found[one.name], owner[one.name] = one, room.name
    return found


@cache
def offered(door: Door, kind: type[Offered]) -> Mapping[str, Offered]:
    """Name -> object, for everything that rooms offer through this door, in the order of the rooms.

    Raises UsageError for a name that is offered twice and for an object that is not a `kind`.
    """
    found: dict[str, Offered] = {}
    for name, one in _offered(door).items():
        if not isinstance(one, kind):
            raise UsageError(
                f"'{name}' comes through the door {door} and is a {type(one).__name__}, not a {kind.__name__}"
            )
        found[name] = one
    return found


def loaded(reference: str) -> Any:
    """The object that "module:NAME" refers to. Code above the torch line refers to code below it in this way."""
    module, _, name = reference.partition(":")
    found = importlib.import_module(module)
    if not hasattr(found, name):
        raise ImportError(f"{module} has no {name}")
    return getattr(found, name)


def _from_room(reference: str, room: str) -> object:
    try:
        return loaded(reference)
    except Exception as error:  # a third-party package may raise anything while it is imported
        said = str(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
        raise UsageError(f"the plug-in '{room}' cannot be loaded: {said}", fix="reinstall it, or remove it") from error
