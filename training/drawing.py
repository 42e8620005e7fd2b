"""Drawing: a scene as a PIL picture of any size."""

from __future__ import annotations

import math
import random

from PIL import Image, ImageDraw

from training.scenes import POSITIONS, Scene, Thing

# Two anchors per colour, muted and pure; a thing's paint lies between them, so that pictures
# drawn by other people with plain named colours are inside what was trained on.
PAINTS = {
    "red": ((205, 50, 45), (255, 0, 0)),
    "green": ((60, 165, 85), (0, 128, 0)),
    "blue": ((60, 95, 205), (0, 0, 255)),
    "yellow": ((235, 205, 60), (255, 255, 0)),
    "purple": ((145, 75, 185), (128, 0, 128)),
    "orange": ((235, 135, 50), (255, 165, 0)),
}
Paint = tuple[int, int, int]
Point = tuple[float, float]


def paint(rng: random.Random, colour: str) -> Paint:
    """Pick a paint between the two anchors of a colour, with a little noise."""
    muted, pure = PAINTS[colour]
    blend = rng.random()
    mixed = (m + (p - m) * blend + rng.uniform(-8, 8) for m, p in zip(muted, pure, strict=True))
    red, green, blue = (min(255, max(0, round(value))) for value in mixed)
    return red, green, blue


def background(rng: random.Random) -> Paint:
    """Pick a light tint; one picture in four is plain white."""
    if rng.random() < 0.25:
        return 255, 255, 255
    return rng.randint(220, 255), rng.randint(220, 255), rng.randint(220, 255)


def corners(thing: Thing, centre: Point, radius: float) -> list[Point]:
    """List the corner points of a thing, which is not a circle, on the canvas."""
    count = {"square": 4, "diamond": 4, "triangle": 3, "star": 10}[thing.shape]
    turn = math.radians(-90 + (45 if thing.shape == "square" else 0) + thing.angle)
    points = []
    for index in range(count):
        reach = radius * (0.42 if thing.shape == "star" and index % 2 else 1.0)
        # A narrow diamond cannot be taken for a tilted square.
        squeeze = 0.68 if thing.shape == "diamond" else 1.0
        around = turn + 2 * math.pi * index / count
        points.append(
            (centre[0] + squeeze * reach * math.cos(around), centre[1] + reach * math.sin(around))
        )
    return points


def centre_of(thing: Thing, size: tuple[int, int]) -> Point:
    """Say where on a canvas of the given size the middle of a thing lies."""
    column, row = POSITIONS.index(thing.position) % 2, POSITIONS.index(thing.position) // 2
    width, height = size[0] / 2, size[1] / 2
    return (column + 0.5 + thing.dx) * width, (row + 0.5 + thing.dy) * height


def radius_of(thing: Thing, size: tuple[int, int]) -> float:
    """Say how far a thing reaches from its middle, in pixels of the canvas."""
    return thing.radius * min(size) / 2


def draw_scene(rng: random.Random, scene: Scene, size: tuple[int, int]) -> Image.Image:
    """Draw the scene on a canvas of `size` (width, height); `rng` picks tints and paints."""
    picture = Image.new("RGB", size, background(rng))
    pen = ImageDraw.Draw(picture)
    for thing in scene.things:
        centre, radius = centre_of(thing, size), radius_of(thing, size)
        fill = paint(rng, thing.colour)
        if thing.shape == "circle":
            # 0.9: a circle of the same reach would cover more than any other shape.
            reach = 0.9 * radius
            box = (centre[0] - reach, centre[1] - reach, centre[0] + reach, centre[1] + reach)
            pen.ellipse(box, fill=fill)
        else:
            pen.polygon(corners(thing, centre, radius), fill=fill)
    return picture


def draw_blank(rng: random.Random, size: tuple[int, int]) -> Image.Image:
    """Draw a canvas with nothing on it: the picture that says nothing."""
    return Image.new("RGB", size, background(rng))
