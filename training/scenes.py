"""Scenes: one to four coloured shapes, each in its own quarter of a plain light canvas."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

COLOURS = ("red", "green", "blue", "yellow", "purple", "orange")
SHAPES = ("circle", "square", "triangle", "star", "diamond")
POSITIONS = ("top left", "top right", "bottom left", "bottom right")
MAX_OBJECTS = 4

# Width : height of the canvases; squares most often, then the usual camera and screen shapes.
ASPECTS = ((1, 1),) * 6 + ((4, 3), (4, 3), (3, 4), (3, 2), (2, 3), (16, 9), (5, 4))


@dataclass(frozen=True)
class Thing:
    """One coloured shape; dx, dy and radius are fractions of its quarter."""

    colour: str
    shape: str
    position: str
    dx: float = 0.0
    dy: float = 0.0
    radius: float = 0.38
    angle: float = 0.0

    @property
    def name(self) -> tuple[str, str]:
        """The colour and the shape, which is how questions name a thing."""
        return (self.colour, self.shape)


@dataclass(frozen=True)
class Scene:
    """The things of one picture; no two share a quarter or a name."""

    things: tuple[Thing, ...]

    @property
    def names(self) -> list[tuple[str, str]]:
        """The (colour, shape) names of the things, in drawing order."""
        return [thing.name for thing in self.things]

    def only(self, attribute: str, value: str) -> bool:
        """Whether exactly one thing has this value, so that a question can single it out."""
        return sum(getattr(thing, attribute) == value for thing in self.things) == 1

    def has(self, attribute: str, value: str) -> bool:
        """Whether any thing has this value."""
        return any(getattr(thing, attribute) == value for thing in self.things)


def random_thing(rng: random.Random, position: str) -> Thing:
    """Draw a thing with every attribute at random, inside the given quarter."""
    radius = rng.uniform(0.24, 0.45)
    slack = 0.5 - radius
    return Thing(
        colour=rng.choice(COLOURS),
        shape=rng.choice(SHAPES),
        position=position,
        dx=rng.uniform(-slack, slack),
        dy=rng.uniform(-slack, slack),
        radius=radius,
        angle=rng.uniform(-10, 10),
    )


def random_scene(rng: random.Random, count: int | None = None) -> Scene:
    """Draw a scene of `count` things (uniform over 1-4 when not given), without any split rule."""
    count = count or rng.randint(1, MAX_OBJECTS)
    while True:
        things = tuple(random_thing(rng, place) for place in rng.sample(POSITIONS, count))
        if len({thing.name for thing in things}) == count:
            return Scene(things)


def altered_scene(rng: random.Random, scene: Scene) -> Scene:
    """Change one attribute of one thing, or swap two things' colours: a near miss of the scene."""
    things = list(scene.things)
    first, second = rng.randrange(len(things)), rng.randrange(len(things))
    change = rng.choice(("colour", "shape", "swap"))
    if change == "colour":
        things[first] = replace(things[first], colour=rng.choice(COLOURS))
    elif change == "shape":
        things[first] = replace(things[first], shape=rng.choice(SHAPES))
    else:
        a, b = things[first].colour, things[second].colour
        things[first] = replace(things[first], colour=b)
        things[second] = replace(things[second], colour=a)
    return Scene(tuple(things))


def random_canvas(rng: random.Random) -> tuple[int, int]:
    """Choose a canvas (width, height): a usual aspect ratio, the longer side 100 to 640 px."""
    across, down = rng.choice(ASPECTS)
    longer = int(100 * 6.4 ** (rng.random() ** 1.5))
    scale = longer / max(across, down)
    return round(across * scale), round(down * scale)
