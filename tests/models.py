"""A reward model without torch: its rewards can be computed by hand, and it can be held, broken and watched."""

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from service.core import (
    DeviceMemory,
    Example,
    Item,
    ModelInfo,
    Patches,
    Picture,
    Raster,
    StagedStep,
    Step,
    Turn,
    Warned,
    Work,
)
from service.errors import InvalidRequest

WAIT_S = 30.0  # a test that has to wait longer than this has failed
PICTURE_TOKENS = 4

Part = str | Raster
Turns = Sequence[tuple[str, Sequence[Part]]]


def digest(raster: Raster) -> str:
    return f"{raster.width}x{raster.height}:{hashlib.sha256(raster.rgb).hexdigest()}"


def reward_of(turns: Turns, response: str, system: str | None = None) -> float:
    """What the stand-in answers for a context and a response, from -8 to 8."""
    context = [
        (role, [("picture", digest(p)) if isinstance(p, Raster) else ("text", p) for p in parts])
        for role, parts in turns
    ]
    return _reward(repr((system, context)), response)


def reward(prompt: str, response: str, *pictures: Raster, system: str | None = None) -> float:
    """The same for a prompt with its pictures before the text."""
    return reward_of([("user", [*pictures, prompt])], response, system)


def _reward(context: str, response: str) -> float:
    whole = hashlib.sha256(f"{context}\0{response}".encode()).digest()
    return int.from_bytes(whole[:6], "big") / 2**44 - 8


class StandIn:
    """A `RewardModel` of the tests' own."""

    def __init__(
        self,
        *,
        name: str = "basereward",
        max_tokens: int = 100_000,
        image_position: Literal["before_text", "after_text"] = "before_text",
        apply_exif: bool = True,
        picture_bytes: int = 0,
    ) -> None:
        self.picture_bytes = picture_bytes  # host memory that a prepared picture is said to take
        self.info = ModelInfo(
            name=name,
            fingerprint="sha256:0123456789abcdef",
            numerics="float32/exact/cpu/none",
            tolerance=0.0,
            scoring="pointwise",
            max_tokens=max_tokens,
            image_position=image_position,
            apply_exif=apply_exif,
        )
        self.rasters: list[Raster] = []  # every picture that was patchified
        self.items: list[Item] = []  # every item that was encoded
        self.staged: list[list[str]] = []  # responses, step by step
        self.steps: list[list[str]] = []
        self.answers: dict[str, float] = {}  # response → the reward to give instead
        self.broken: set[str] = set()  # a step with one of these responses raises
        self.unencodable: set[str] = set()  # nor can an item with one of these be encoded
        self.unpatchable: tuple[int, int] | None = None  # pictures of this size raise
        self.noted: dict[str, str] = {}  # response → the code of a warning about it
        self.unready: Exception | None = None  # what check() raises
        self.entered = threading.Semaphore(0)  # released whenever a step starts
        self._gate = threading.Event()
        self._gate.set()

    def hold(self) -> None:
        self._gate.clear()

    def release(self) -> None:
        self._gate.set()

    @property
    def encoded(self) -> int:
        """How many responses were tokenised."""
        return sum(len(item.responses) for item in self.items)

    @property
    def seen(self) -> list[str]:
        return [response for step in self.steps for response in step]

    # The Protocol

    def patchify(self, raster: Raster) -> Patches:
        if (raster.width, raster.height) == self.unpatchable:
            raise RuntimeError("secret detail of /a/path at 10.0.0.1")
        self.rasters.append(raster)
        return Patches(2, 2, PICTURE_TOKENS, raster, self.picture_bytes)

    def encode(
        self, items: Sequence[Item], pictures: Mapping[Picture, Patches]
    ) -> list[Example | Exception]:
        return [self._example(item, pictures) for item in items]

    def stage(self, step: Step) -> StagedStep:
        staged = []
        for part in step:
            context, responses = part.example.data  # type: ignore[misc]
            staged.append([(context, responses[r]) for r in part.responses])
        self.staged.append([response for part in staged for _, response in part])
        tokens = sum(sum(part.lengths) for part in step)
        return StagedStep(Work(tokens, 0, 0), (0,) * len(step), staged)

    def score(self, step: StagedStep) -> list[list[float]]:
        staged = step.data
        assert isinstance(staged, list)
        self.entered.release()
        assert self._gate.wait(WAIT_S), "nobody released the model"
        responses = [response for part in staged for _, response in part]
        if self.broken & set(responses):
            raise RuntimeError("secret detail of /a/path at 10.0.0.1")
        self.steps.append(responses)
        return [[self.answers.get(r, _reward(context, r)) for context, r in p] for p in staged]

    def check(self, beat: Callable[[], None] = lambda: None) -> float:
        if self.unready is not None:
            raise self.unready
        return 0.0

    def memory(self) -> DeviceMemory | None:
        return None

    def _example(self, item: Item, pictures: Mapping[Picture, Patches]) -> Example | Exception:
        self.items.append(item)
        if self.unencodable & set(item.responses):
            return RuntimeError("secret detail of /a/path at 10.0.0.1")
        turns = [(turn.role, self._parts(turn, pictures)) for turn in item.turns]
        flat = [part for _, parts in turns for part in parts]
        image_tokens = PICTURE_TOKENS * sum(isinstance(part, Raster) for part in flat)
        text = sum(len(part) for part in flat if isinstance(part, str))
        lengths = tuple((text + len(r)) // 4 + 1 + image_tokens for r in item.responses)
        if max(lengths) > self.info.max_tokens:
            message = f"{max(lengths)} tokens exceed {self.info.max_tokens}"
            return InvalidRequest(message, code="item_too_long", param=item.param)
        context = [
            (role, [("picture", digest(p)) if isinstance(p, Raster) else ("text", p) for p in ps])
            for role, ps in turns
        ]
        notes = tuple(
            Warned(self.noted[response], "noted", r)
            for r, response in enumerate(item.responses)
            if response in self.noted
        )
        data = (repr((item.system, context)), item.responses)
        return Example(lengths, image_tokens, data, warnings=notes)

    def _parts(self, turn: Turn, pictures: Mapping[Picture, Patches]) -> list[Part]:
        parts: list[Part] = []
        for part in turn.parts:
            if isinstance(part, Picture):
                raster = pictures[part].data
                assert isinstance(raster, Raster)
                parts.append(raster)
            else:
                parts.append(part)
        return parts
