"""The nouns every room shares, and the model as the rest of the house sees it; no behaviour, no third party."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Picture:
    """Where a picture comes from. Two parts with equal sources are the same picture."""

    source: str | bytes = field(repr=False)  # data URI, bare base64, URL, or the file's own bytes
    param: str = field(compare=False)  # the request field that named it first, for errors


@dataclass(frozen=True, slots=True)
class Raster:
    """One decoded picture, upright and opaque."""

    width: int
    height: int
    rgb: bytes = field(repr=False)  # [height, width, 3], row by row
    warnings: tuple[str, ...] = ()  # codes, e.g. "animated_image"


@dataclass(frozen=True, slots=True)
class Patches:
    """One picture as the vision tower takes it; `data` belongs to the model room."""

    grid_h: int  # patches, before merging
    grid_w: int
    num_tokens: int  # after merging
    data: object = field(repr=False)
    num_bytes: int = 0  # host memory held until the request is answered
    digest: bytes = b""  # of the resized pixels and the grid: equal pictures are equal here


@dataclass(frozen=True, slots=True)
class Turn:
    role: Role
    parts: tuple[str | Picture, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """A group: one context and the responses to it. A single response is a group of one."""

    turns: tuple[Turn, ...]  # the context; the response is not among them
    responses: tuple[str, ...]
    system: str | None = None  # None: the checkpoint's own; "": no system turn
    truncate_prompt: bool = False
    param: str = "items[0]"


@dataclass(frozen=True, slots=True)
class Warned:
    code: str
    message: str
    response: int | None = None  # None: about the item as a whole


@dataclass(frozen=True, slots=True)
class Example:
    """An item ready for the model: every response as one whole token sequence."""

    lengths: tuple[int, ...]  # tokens of each response's whole sequence, pictures counted
    image_tokens: int  # in each of the sequences
    data: object = field(repr=False)
    prefix_tokens: int = 0  # leading tokens that all of them have in common: the context
    prefix_key: bytes = b""  # equal where these tokens and their pictures are; b"": shared by none
    image_patches: int = 0  # of the pictures, before merging
    warnings: tuple[Warned, ...] = ()
    refused: Mapping[int, Exception] = field(
        default_factory=dict
    )  # responses that cannot be scored


@dataclass(frozen=True, slots=True)
class Slice:
    """Some responses of one example: what a step takes of a group."""

    example: Example
    responses: tuple[int, ...]
    tenant: str = "default"  # nothing is shared across tenants, neither in a step nor in a cache

    @property
    def lengths(self) -> list[int]:
        return [self.example.lengths[i] for i in self.responses]


Step = tuple[Slice, ...]


@dataclass(frozen=True, slots=True)
class Work:
    """What a forward pass has to compute: its time is predicted from these."""

    tokens: int  # of the language model, padding counted, shared ones once
    pairs: int  # (query, key) pairs of its attention
    patches: int  # of the pictures to encode


@dataclass(frozen=True, slots=True)
class StagedStep:
    """A step laid out and on the device; `data` belongs to the model room."""

    work: Work
    shared: tuple[int, ...]  # slice by slice: tokens that siblings, duplicates or caches saved
    data: object = field(repr=False)


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    allocated_bytes: int
    reserved_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class RewardSigns:
    """What the rewards of a run look like of late, within groups: where hacking shows first."""

    spread: float  # standard deviation within groups, pooled
    tied_share: float  # of sibling pairs that have the same reward
    length_correlation: float  # of reward and response length, -1 to 1; 0 where one does not vary


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a client may know of the loaded model (`/info`, `/v1/models`, response headers)."""

    name: str
    fingerprint: str
    numerics: str
    tolerance: float  # rewards of equal fingerprint and numerics agree within it
    scoring: Literal["pointwise", "listwise"]
    max_tokens: int
    image_position: Literal["before_text", "after_text"]
    apply_exif: bool
    step_tokens: int = 16_384  # that a step on its device is best given
    details: Mapping[str, object] = field(default_factory=dict)


class RewardModel(Protocol):
    """The model as the engine knows it. `encode`, `patchify` and `stage` may run beside `score`."""

    @property
    def info(self) -> ModelInfo: ...

    def patchify(self, raster: Raster) -> Patches:
        """Resize one picture and cut it into patches."""

    def encode(
        self, items: Sequence[Item], pictures: Mapping[Picture, Patches]
    ) -> list[Example | Exception]:
        """Template and tokenise; an item that cannot be encoded answers with its own error."""

    def stage(self, step: Step) -> StagedStep:
        """Lay out the step and bring it to the device, while another step may be running."""

    def score(self, staged: StagedStep) -> list[list[float]]:
        """Run one forward pass; answers mirror the step's slices.

        Raises:
            OutOfMemory: the device has not enough for this step; a smaller one may do.
            DeviceLost: no later step can succeed in this process.
        """

    def check(self, beat: Callable[[], None] = ...) -> float:
        """Run, and reproduce the golden scores: the largest difference from one of them.

        Args:
            beat: called after each of them: many are no hang.

        Raises:
            GoldenMismatch: they are not reproduced.
        """

    def memory(self) -> DeviceMemory | None:
        """Device memory now; None where the device has none of its own."""
