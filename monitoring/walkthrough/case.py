"""A case of the walk: what causes its alerts, and what the page says to do about them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from monitoring.walkthrough.pod import Pod

# Yields twice: what was done to hurt, once it is done; and what the page had done, once that is.
Course = Callable[[list[Pod]], Iterator[str]]


@dataclass(frozen=True, slots=True)
class Case:
    course: Course
    alerts: tuple[str, ...]
    pods: int = 1
    lasting: tuple[str, ...] = ()  # fire too, but look back for days: their end is not waited for

    @property
    def name(self) -> str:
        return self.course.__name__.replace("_", "-")
