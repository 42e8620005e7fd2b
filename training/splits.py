"""Splits: which scenes and names training may use, and which are kept for the tests."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property

from training.scenes import COLOURS, MAX_OBJECTS, SHAPES, Scene, altered_scene, random_scene

Name = tuple[str, str]
SPLIT_SEED = 13
COMBOS = 3
# Steps around a ring of the 27 remaining names; a pair this far apart is held out. Every name
# then has the same number of held-out partners (4 of 26, 15 %), so no name becomes rarer.
RING_STEPS = (3, 8)
TRIPLE_SHARE = 0.15


@dataclass(frozen=True)
class HeldOut:
    """What training never shows: combinations, pairs of names, and names in scenes of a count."""

    combos: frozenset[Name]
    pairs: frozenset[frozenset[Name]]
    triples: frozenset[tuple[Name, int]]


def hold_out(seed: int = SPLIT_SEED) -> HeldOut:
    """Choose what to hold out; the same for every training seed, so that runs can be compared."""
    rng = random.Random(seed)
    shapes, colours = rng.sample(SHAPES, COMBOS), rng.sample(COLOURS, COMBOS)
    combos = frozenset(zip(colours, shapes, strict=True))
    ring = [name for name in itertools.product(COLOURS, SHAPES) if name not in combos]
    rng.shuffle(ring)
    pairs = frozenset(
        frozenset((ring[i], ring[(i + step) % len(ring)]))
        for i in range(len(ring))
        for step in RING_STEPS
    )
    per_count = round(TRIPLE_SHARE * len(ring))
    rng.shuffle(ring)
    triples = frozenset(
        (ring[(count - 1) * per_count + i], count)
        for count in range(1, MAX_OBJECTS + 1)
        for i in range(per_count)
    )
    return HeldOut(combos, pairs, triples)


@dataclass(frozen=True)
class Split:
    """One of "train", "pairings" (unseen company) or "combos" (unseen colour-shape names)."""

    kind: str
    held: HeldOut = field(default_factory=hold_out)

    def novel_company(self, scene: Scene) -> bool:
        """Whether the scene shows a held-out pair of names, or a name at a held-out count."""
        names = scene.names
        return any((name, len(names)) in self.held.triples for name in names) or any(
            frozenset(pair) in self.held.pairs for pair in itertools.combinations(names, 2)
        )

    def admits(self, scene: Scene) -> bool:
        """Whether the scene belongs to this split; wrong captions must pass the same test."""
        if len(set(scene.names)) < len(scene.names):
            return False
        has_combo = any(name in self.held.combos for name in scene.names)
        if self.kind == "combos":
            return has_combo
        return not has_combo and self.novel_company(scene) == (self.kind == "pairings")

    def nameable(self, colour: str, shape: str) -> bool:
        """Whether a question or answer of this split may name this colour and shape together."""
        return self.kind == "combos" or (colour, shape) not in self.held.combos

    def scene(self, rng: random.Random, count: int | None = None) -> Scene:
        """Draw a scene of this split; the count is fixed first, so that it stays uniform."""
        count = count or rng.randint(1, MAX_OBJECTS)
        while True:
            scene = random_scene(rng, count)
            if self.admits(scene):
                return scene

    def near_miss(self, rng: random.Random, scene: Scene) -> Scene:
        """Draw a scene of this split and of the same count that shows something else."""
        for attempt in itertools.count():
            fresh = attempt > 20
            other = self.scene(rng, len(scene.things)) if fresh else altered_scene(rng, scene)
            if set(other.names) != set(scene.names) and self.admits(other):
                return other
        raise AssertionError("unreachable")

    @cached_property
    def frequency(self) -> Counter[Name]:
        """How often each name is drawn; wrong answers follow it, so that none is a giveaway."""
        rng = random.Random(SPLIT_SEED)
        return Counter(name for _ in range(3000) for name in self.scene(rng).names)
