"""JSON log lines on stderr; what is logged is counted and named, never a prompt, a response or a key."""

import atexit
import json
import logging
import queue
import sys
import threading
import time
from logging.handlers import QueueHandler, QueueListener
from typing import TextIO

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
}

MOST_LINES = 20_000  # that wait to be written
LAST_S = 2.0  # for the last lines, at the end

_listeners: list[QueueListener] = []


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, logger, message, and every `extra` of the call."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {k: v for k, v in record.__dict__.items() if k not in _STANDARD}
        if record.exc_text:
            line["exception"] = record.exc_text
        return json.dumps(line, default=str)


class Writer(logging.StreamHandler[TextIO]):
    """Counts what it could not write, to a full disk say, and tells of it when writing works again."""

    unwritten = 0  # lines, since one that could be written

    def emit(self, record: logging.LogRecord) -> None:
        before = self.unwritten
        super().emit(record)
        if 0 < before == self.unwritten:
            self.unwritten = 0
            super().emit(_told_late(before))
            if self.unwritten:  # there was room for one line, and not for the news
                self.unwritten = before

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - logging's
        # Not logging's own: it writes its complaint, and the line's code, to the same full disk.
        self.unwritten += 1


def _told_late(lines: int) -> logging.LogRecord:
    told = {"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING"}
    told |= {"msg": "lines could not be written when they came", "unwritten_lines": lines}
    return logging.makeLogRecord(told)


_AS_TEXT = logging.Formatter()


class Hand(QueueHandler):
    """Hands lines to the thread that writes them: a full pipe must not hold the event loop."""

    def __init__(self, lines: "queue.SimpleQueue[logging.LogRecord]", writer: Writer) -> None:
        super().__init__(lines)
        self._lines, self._writer = lines, writer

    def enqueue(self, record: logging.LogRecord) -> None:
        if self._lines.qsize() < MOST_LINES:
            super().enqueue(record)
        else:
            self._writer.unwritten += 1  # by several threads: now and then one is missed

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """As it is: it stays in the process; but what was raised as text, for its frames change meanwhile."""
        if record.exc_info:
            record.exc_text = _AS_TEXT.formatException(record.exc_info)
            record.exc_info = None
        return record


def configure(level: str) -> None:
    """Send every logger, uvicorn's too, through one handler, written by a thread of its own."""
    handler = Writer(sys.stderr)
    handler.setFormatter(JsonFormatter())
    lines: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    listener = QueueListener(lines, handler)
    listener.start()
    atexit.register(flush)  # the last lines too
    _listeners.append(listener)
    logging.basicConfig(level=level.upper(), handlers=[Hand(lines, handler)], force=True)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    logging.captureWarnings(capture=True)  # Pillow's about odd files, as lines like any other
    for name in ("httpx", "uvicorn.error"):  # what they say at info, our own lines say
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in (
        "python_multipart",
        "PIL",
    ):  # a caller's bad form or picture: its answer says it, by request id
        logging.getLogger(name).setLevel(logging.ERROR)


def flush() -> bool:
    """Write what waits to be written, and no more after it; False where nobody takes it."""
    last = threading.Thread(target=_stop_all, daemon=True)
    last.start()
    last.join(LAST_S)
    return not last.is_alive()


def _stop_all() -> None:
    while _listeners:
        _listeners.pop().stop()
