"""Facts: what can be asked about a scene, its right answer and the wrong ones, before wording."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from training.scenes import COLOURS, POSITIONS, SHAPES, Scene, Thing
from training.splits import Split

NUMBERS = ("one", "two", "three", "four")
# Position is the hardest kind and the two yes/no kinds have one wrong answer only.
KIND_WEIGHTS = {
    "colour": 1.0,
    "shape": 1.0,
    "position": 1.8,
    "count": 0.5,
    "describe": 0.9,
    "yesno_colour": 1.5,
    "yesno_presence": 2.0,
}
KINDS = tuple(KIND_WEIGHTS)
WRONGS = 3


@dataclass(frozen=True)
class Fact:
    """A question's kind, the values of its slots, its right answer and its wrong answers."""

    kind: str
    slots: dict[str, str]
    right: str
    wrongs: tuple[str, ...]


Maker = Callable[[random.Random, Split, Scene, str], Fact | None]


# How captions speak of one thing. The later ones are mostly for training: each tells the
# colour, shape and place in another order, and so trains to look up any of them by another.
PLAIN_STYLE = "{a} {colour} {shape}"
STYLES = (
    PLAIN_STYLE,
    "the {shape} is {colour}",
    "{a} {colour} {shape} at the {position}",
    "the {colour} {shape} is {position}",
    "{position}: {colour} {shape}",
    "the {shape} at the {position} is {colour}",
    "the {colour} one is a {shape}",
)


def caption(scene: Scene, order: list[int], style: str = PLAIN_STYLE) -> str:
    """Name every thing: "a red circle, a blue star and a green square"."""
    parts = []
    for thing in (scene.things[i] for i in order):
        article = "an" if thing.colour[0] in "aeiou" else "a"
        place = {"colour": thing.colour, "shape": thing.shape, "position": thing.position}
        parts.append(style.format(a=article, **place))
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


def pick_thing(rng: random.Random, split: Split, scene: Scene, unique: str = "") -> Thing | None:
    """Choose the thing to ask about; in "combos", one of the combinations held out of training."""
    things = [t for t in scene.things if not unique or scene.only(unique, getattr(t, unique))]
    if split.kind == "combos":
        things = [thing for thing in things if thing.name in split.held.combos]
    return rng.choice(things) if things else None


def pick_wrongs(
    rng: random.Random, options: dict[str, float], favoured: list[str], count: int = WRONGS
) -> tuple[str, ...]:
    """Choose wrong answers by weight; values seen elsewhere in the scene weigh four times more."""
    weights = {o: w * (4 if o in favoured else 1) for o, w in options.items() if w > 0}
    chosen: list[str] = []
    while weights and len(chosen) < count:
        value = rng.choices(list(weights), list(weights.values()))[0]
        chosen.append(value)
        del weights[value]
    return tuple(chosen)


def colour_weights(split: Split, thing: Thing) -> dict[str, float]:
    """How often each other colour is right for this shape, so that no colour is a giveaway."""
    return {c: split.frequency[c, thing.shape] for c in COLOURS if c != thing.colour}


def colour_fact(rng: random.Random, split: Split, scene: Scene, _ref: str) -> Fact | None:
    """Ask for the colour of a shape that occurs once."""
    thing = pick_thing(rng, split, scene, "shape")
    if thing is None:
        return None
    others = [other.colour for other in scene.things]
    wrongs = pick_wrongs(rng, colour_weights(split, thing), others)
    return Fact("colour", {"shape": thing.shape}, thing.colour, wrongs)


def shape_fact(rng: random.Random, split: Split, scene: Scene, _ref: str) -> Fact | None:
    """Ask for the shape of a colour that occurs once."""
    thing = pick_thing(rng, split, scene, "colour")
    if thing is None:
        return None
    options = {s: split.frequency[thing.colour, s] for s in SHAPES if s != thing.shape}
    wrongs = pick_wrongs(rng, options, [other.shape for other in scene.things])
    return Fact("shape", {"colour": thing.colour}, thing.shape, wrongs)


def position_fact(rng: random.Random, split: Split, scene: Scene, ref: str) -> Fact | None:
    """Ask in which quarter a thing is, named by shape or by colour and shape."""
    thing = pick_thing(rng, split, scene, "shape" if ref == "shape" else "")
    if thing is None:
        return None
    name = thing.shape if ref == "shape" else " ".join(thing.name)
    wrongs = rng.sample([place for place in POSITIONS if place != thing.position], 3)
    slots = {"ref": name, "colour": thing.colour, "shape": thing.shape}
    return Fact("position", slots, thing.position, tuple(wrongs))


def count_fact(rng: random.Random, _split: Split, scene: Scene, _ref: str) -> Fact:
    """Ask how many things there are."""
    right = NUMBERS[len(scene.things) - 1]
    return Fact("count", {}, right, tuple(rng.sample([n for n in NUMBERS if n != right], 3)))


def describe_fact(rng: random.Random, split: Split, scene: Scene, ref: str) -> Fact:
    """Ask for a caption; wrong captions describe near misses that the split could have drawn."""
    style = ref if ref in STYLES else PLAIN_STYLE
    order = rng.sample(range(len(scene.things)), len(scene.things))
    wrongs = {caption(split.near_miss(rng, scene), order, style) for _ in range(WRONGS)}
    return Fact("describe", {}, caption(scene, order, style), tuple(sorted(wrongs)))


def yesno(kind: str, slots: dict[str, str], is_true: bool) -> Fact:
    """Build a yes/no fact."""
    right, wrong = ("yes", "no") if is_true else ("no", "yes")
    return Fact(kind, slots, right, (wrong,))


def yesno_colour_fact(rng: random.Random, split: Split, scene: Scene, _ref: str) -> Fact | None:
    """Ask whether a shape that occurs once has a colour; true half of the time."""
    thing = pick_thing(rng, split, scene, "shape")
    if thing is None:
        return None
    is_true = rng.random() < 0.5
    colour = thing.colour
    if not is_true:
        others = [other.colour for other in scene.things]
        colour = pick_wrongs(rng, colour_weights(split, thing), others, 1)[0]
    return yesno("yesno_colour", {"shape": thing.shape, "colour": colour}, is_true)


def absent_names(split: Split, scene: Scene) -> dict[tuple[str, str], float]:
    """Weigh the names that a "no" may use: near misses of the scene's things come more often."""
    allowed = split.held.combos if split.kind == "combos" else split.frequency
    weights = {}
    for colour, shape in sorted(allowed):
        near = scene.has("colour", colour) + scene.has("shape", shape)
        if (colour, shape) not in scene.names:
            weights[colour, shape] = split.frequency[colour, shape] * (1, 2, 6)[near]
    return weights


def yesno_presence_fact(rng: random.Random, split: Split, scene: Scene, ref: str) -> Fact | None:
    """Ask whether a thing is there, named by shape or by both; true half of the time."""
    is_true = rng.random() < 0.5
    thing = pick_thing(rng, split, scene)
    if thing is None:
        return None
    if ref == "shape":
        absent = [shape for shape in SHAPES if not scene.has("shape", shape)]
        shape = thing.shape if is_true else rng.choice(absent)
        return yesno("yesno_presence", {"ref": shape, "shape": shape}, is_true)
    names = absent_names(split, scene)
    colour, shape = thing.name if is_true else rng.choices(list(names), list(names.values()))[0]
    slots = {"ref": f"{colour} {shape}", "colour": colour, "shape": shape}
    return yesno("yesno_presence", slots, is_true)


MAKERS: dict[str, Maker] = {
    "colour": colour_fact,
    "shape": shape_fact,
    "position": position_fact,
    "count": count_fact,
    "describe": describe_fact,
    "yesno_colour": yesno_colour_fact,
    "yesno_presence": yesno_presence_fact,
}


def make_fact(
    rng: random.Random, split: Split, scene: Scene, kind: str, ref: str = "both"
) -> Fact | None:
    """Find something to ask of this kind, or None where the scene allows no such question.

    `ref` says how "position" and "yesno_presence" name a thing ("shape" alone, or "both"), and
    in which of the STYLES "describe" speaks of things.
    """
    return MAKERS[kind](rng, split, scene, ref)
