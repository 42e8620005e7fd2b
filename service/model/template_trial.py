"""A chat template, tried in a process that can be ended: one without an end, or without bounds, refuses the start."""

import json
import logging
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

from service.errors import StartError
from service.model import template_child
from service.model.control import ControlTokens
from service.model.folder import reason
from service.model.rendering import Messages

log = logging.getLogger(__name__)

CPU_S = 5  # of rendering; Qwen's takes 0.001
WAIT_S = 120.0  # until that is over, on a busy machine
MEMORY_BYTES = 512 * 2**20
OUTPUT_CHARS = 2**20
_PICTURE = [{"type": "image"}, {"type": "text", "text": "probe"}]
CONVERSATIONS = [
    [{"role": "user", "content": "probe"}],
    [{"role": "user", "content": _PICTURE}, {"role": "assistant", "content": "probe"}],
    [
        {"role": "system", "content": "probe"},
        *([{"role": "user", "content": "probe"}, {"role": "assistant", "content": "probe"}] * 3),
    ],
]


@cache  # one process a template
def check_ends(source: str) -> None:
    """
    Raises:
        StartError: the template takes more time or memory, or writes more, than any conversation needs.
    """
    task = {
        "path": sys.path,
        "source": source,
        "conversations": CONVERSATIONS,
        "cpu_s": CPU_S,
        "memory_bytes": MEMORY_BYTES,
        "output_chars": OUTPUT_CHARS,
    }
    command = [sys.executable, "-I", str(Path(template_child.__file__))]
    try:
        ended = subprocess.run(  # noqa: S603 - our own interpreter and file
            command,
            input=json.dumps(task).encode(),
            capture_output=True,
            timeout=WAIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise StartError(_TOO_LONG) from None
    if ended.returncode != 0:
        raise StartError(_REASONS.get(ended.returncode, _ended_with(ended.returncode)))


def check_texts(render: Callable[[Messages], str], control: ControlTokens) -> None:
    """A conversation's texts are shown, between control tokens that the tokenizer has.

    Raises:
        StartError: the template cannot be rendered, leaves a text out, or writes a token that is none.
    """
    texts = {"user": "a question", "assistant": "an answer"}
    try:
        shown = render([{"role": role, "content": text} for role, text in texts.items()])
    except Exception as error:  # noqa: BLE001 - Jinja raises what a template makes it raise
        raise StartError(f"the chat template cannot be rendered: {reason(error)}") from None
    for role, text in texts.items():
        if text not in shown:
            raise StartError(f"the chat template does not show the text of the {role} turn")
    for token in re.findall(r"<\|\w+\|>", shown):
        if token not in control.ids:
            raise StartError(
                f"the chat template writes {token}, which is no token of the tokenizer"
            )
    if not control.are_in(shown):
        log.warning("the chat template writes no control token of the tokenizer")


def shows_pictures(render: Callable[[Messages], str], image_pad: str) -> bool:
    """Whether a turn's picture is shown; a template for texts alone raises, or leaves it out."""
    try:
        shown = render([{"role": "user", "content": _PICTURE}]).count(image_pad) == 1
    except Exception:  # noqa: BLE001 - Jinja raises what a template makes it raise
        shown = False
    if not shown:
        log.warning("the chat template shows no picture: items with pictures are refused")
    return shown


_TOO_LONG = f"the chat template does not end: it was stopped after {CPU_S} s"
_REASONS = {
    -signal.SIGXCPU: _TOO_LONG,
    -signal.SIGKILL: _TOO_LONG,
    template_child.OUT_OF_MEMORY: f"the chat template takes more than {MEMORY_BYTES} bytes of memory",
    template_child.TOO_MUCH: f"the chat template writes more than {OUTPUT_CHARS} characters for a short text",
}


def _ended_with(code: int) -> str:
    return f"the chat template cannot be tried: the process that renders it ended with code {code}"
