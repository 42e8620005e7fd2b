"""What becomes of a failed step: halves of it, and halves of those, until what is at fault stands alone."""

from collections.abc import Callable
from dataclasses import replace

from service.batching.ticket import Outcome
from service.core import Slice, Step
from service.errors import DeviceLost, Failure

Score = Callable[[Step], list[list[Outcome]]]  # mirrors the step; raises what the model raises
Note = Callable[[Exception, Step], None]


def halves(step: Step) -> tuple[Step, Step]:
    """Cut in two by responses; a group that lies across the middle is in both, in order."""
    left = count_of(step) // 2
    first: list[Slice] = []
    second: list[Slice] = []
    for part in step:
        cut = min(left, len(part.responses))
        left -= cut
        if cut:
            first.append(replace(part, responses=part.responses[:cut]))
        if cut < len(part.responses):
            second.append(replace(part, responses=part.responses[cut:]))
    return tuple(first), tuple(second)


def salvage(step: Step, score: Score, note: Note) -> list[Outcome]:
    """Outcomes of a failed step, response by response: those that cannot be scored even alone are at fault.

    One of n costs about 2 log2(n) smaller steps, so that 511 others are not run one by one for it. A single one
    is tried once more: a device that was full may not be any more.

    Args:
        step: that failed as a whole.
        score: runs one step.
        note: is told of every part that fails again.

    Raises:
        DeviceLost: nothing more can be scored.
    """
    parts = halves(step) if count_of(step) > 1 else (step,)
    return [outcome for part in parts for outcome in _tried(part, score, note)]


def _tried(part: Step, score: Score, note: Note) -> list[Outcome]:
    try:
        return [outcome for group in score(part) for outcome in group]
    except DeviceLost:
        raise
    except Exception as error:  # noqa: BLE001 - one caller's fault must not be another's
        note(error, part)
    # Outside the handler: the error would hold the failed part's memory while halves of it are run.
    if count_of(part) == 1:
        return [Failure("the model failed on this response", code="model_failure")]
    return salvage(part, score, note)


def count_of(step: Step) -> int:
    return sum(len(part.responses) for part in step)
