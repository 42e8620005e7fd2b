"""Skeletons: what a template writes around the texts of a conversation, learned where that is exact."""

import itertools
import re
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

from service.model.rendering import Shape

Render = Callable[[Shape, Sequence[str]], str]

_SLOT = "\ufdd2{}\ufdd3"
_SLOTS = re.compile("\ufdd2([0-9]+)\ufdd3")
_QUOTED = re.compile(r"'([^'\n]+)'|\"([^\"\n]+)\"")
_MOST_CONSTANTS = 128
_RENDERINGS = 8  # of a shape before it is worth the probing
# A shape of more texts is rendered each time: to learn one takes about 100 renderings, and to keep one its literals.
_MOST_TEXTS = 64

# Texts that a template would treat in some way if it treated texts at all.
_PROBES = (
    *("x", " ", "\n", " x", "x ", "\nx", "x\n", "\n\nx\n\n", "\r\n x\t", "\u00a0x\u3000"),
    *(
        "0",
        "None",
        "true",
        "X y Z",
        "é\u0301 狮🦁 ÅSS ß",
        "{{ x }}{% y %}{# z #}",
        "<a>&amp;\"'\\n",
    ),
    "long " * 4000,
)


class Skeleton:
    """Literal stretches and, between them, numbers of texts."""

    def __init__(self, rendered: str) -> None:
        pieces = _SLOTS.split(rendered)
        self._pieces = [int(p) if i % 2 else p for i, p in enumerate(pieces)]

    def fill(self, texts: Sequence[str]) -> str:
        return _filled(self._pieces, texts)

    def around_last(self, texts: Sequence[str]) -> tuple[str, str] | None:
        """What stands before and after the last text; None if it does not stand exactly once.

        Args:
            texts: all but the last.
        """
        if self._pieces.count(len(texts)) != 1:
            return None
        at = self._pieces.index(len(texts))
        return _filled(self._pieces[:at], texts), _filled(self._pieces[at + 1 :], texts)


class Skeletons:
    """The skeletons met so far. None where the template does more than to put texts in their places."""

    def __init__(
        self, render: Render, hide: Callable[[str], str], source: str, most: int = 256
    ) -> None:
        """
        Args:
            render: shape and texts to text, as the template does it.
            hide: makes a text one that holds no control token.
            source: of the template: its own constants are what it could look for in a text.
            most: skeletons kept at once; the one longest unused goes first.
        """
        self._render = render
        found = (a or b for a, b in _QUOTED.findall(source))
        constants = list(dict.fromkeys(c.replace("\\n", "\n") for c in found))
        self._trusted = len(constants) <= _MOST_CONSTANTS and "strftime_now" not in source
        around = [probe for c in constants for probe in (c, f"x{c}y", f"{c}x", f"x{c}")]
        self._probes = [hide(text) for text in (*_PROBES, *around)]
        self._most = most
        self._known: OrderedDict[Shape, Skeleton | int | None] = OrderedDict()  # int: times met
        self._lock = threading.Lock()

    def of(self, shape: Shape) -> Skeleton | None:
        if len(shape.empty) > _MOST_TEXTS or not self._trusted:
            return None
        with self._lock:
            known = self._known.get(shape, 0)
            if isinstance(known, int) and known < _RENDERINGS:
                self._keep(shape, known + 1)
                return None
        if isinstance(known, int):
            known = self._learn(shape)  # outside the lock: others need not wait for it
        with self._lock:
            self._keep(shape, known)
        return known

    def around_last(self, shape: Shape, texts: Sequence[str], times: int) -> tuple[str, str] | None:
        """What stands before and after the last text of a conversation; None where that is not known.

        Args:
            shape: of the conversation.
            texts: all but the last.
            times: how many last texts the conversation has. Where they are more than the probes, it is learned for
                this conversation alone: a context of 1,000 turns takes 9 ms to render.
        """
        if (skeleton := self.of(shape)) is not None:
            return skeleton.around_last(texts)
        if not self._trusted or times <= len(self._probes) or shape.empty[-1]:
            return None
        try:
            return self._learn_last(shape, texts)
        except Exception:  # noqa: BLE001 - Jinja raises what a template makes it raise
            return None

    def _learn_last(self, shape: Shape, texts: Sequence[str]) -> tuple[str, str] | None:
        slot = _SLOT.format(secrets.randbelow(10**18))  # which no caller can have written
        before, *after = self._render(shape, [*texts, slot]).split(slot)
        if len(after) != 1:
            return None
        for probe in self._probes:
            if before + probe + after[0] != self._render(shape, [*texts, probe]):
                return None
        return before, after[0]

    def _keep(self, shape: Shape, known: Skeleton | int | None) -> None:
        self._known[shape] = known
        self._known.move_to_end(shape)
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    def _learn(self, shape: Shape) -> Skeleton | None:
        count = len(shape.empty)
        try:
            marks = ["" if e else _SLOT.format(i) for i, e in enumerate(shape.empty)]
            skeleton = Skeleton(self._render(shape, marks))
            for turn in range(len(self._probes)):
                # Every text meets every probe, and each time other neighbours.
                probes = itertools.islice(itertools.cycle(self._probes), turn, turn + count)
                texts = ["" if e else p for e, p in zip(shape.empty, probes, strict=True)]
                if skeleton.fill(texts) != self._render(shape, texts):
                    return None
        except Exception:  # noqa: BLE001 - Jinja raises what a template makes it raise
            return None
        return skeleton


def _filled(pieces: Sequence[str | int], texts: Sequence[str]) -> str:
    return "".join(p if isinstance(p, str) else texts[p] for p in pieces)
