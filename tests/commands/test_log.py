"""What the log says where lines cannot be written."""

import errno
import io
import json
import logging
import queue
import sys

from service import log
from service.errors import without_frames
from service.log import Hand, JsonFormatter, Writer


class Disk(io.StringIO):
    full = False
    room = 1000  # lines

    def write(self, text: str) -> int:
        self.room -= 1
        if self.full or self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)


def test_it_counts_what_a_full_disk_did_not_take_and_says_so_once(capsys):
    disk = Disk()
    writer = Writer(disk)
    writer.setFormatter(JsonFormatter())

    def say(message: str) -> None:
        writer.handle(logging.makeLogRecord({"msg": message}))

    say("before")
    disk.full = True
    for _ in range(3):
        say("meanwhile")
    disk.full = False
    say("after")
    say("and on")
    lines = [json.loads(line) for line in disk.getvalue().splitlines()]
    late = "lines could not be written when they came"
    assert [line["message"] for line in lines] == ["before", "after", late, "and on"]
    assert lines[2]["unwritten_lines"] == 3
    assert lines[2]["level"] == "warning"
    assert capsys.readouterr().err == ""  # no complaint of logging's own


def test_news_that_does_not_fit_is_told_later():
    disk = Disk()
    writer = Writer(disk)
    writer.setFormatter(JsonFormatter())
    writer.unwritten = 100
    for room in (1, 1000):
        disk.room = room
        writer.handle(logging.makeLogRecord({"msg": "line"}))
    lines = [json.loads(line) for line in disk.getvalue().splitlines()]
    assert [line["message"] for line in lines] == [
        "line",
        "line",
        "lines could not be written when they came",
    ]
    assert lines[-1]["unwritten_lines"] == 100


def test_lines_that_nobody_takes_do_not_pile_up(monkeypatch):
    monkeypatch.setattr(log, "MOST_LINES", 2)
    lines, writer = queue.SimpleQueue(), Writer(io.StringIO())
    hand = Hand(lines, writer)
    for _ in range(5):
        hand.handle(logging.makeLogRecord({"msg": "line"}))
    assert (lines.qsize(), writer.unwritten) == (2, 3)


def test_what_was_raised_is_written_whole_though_its_frames_are_forgotten():
    disk = Disk()
    writer = Writer(disk)
    writer.setFormatter(JsonFormatter())
    lines = queue.SimpleQueue()
    try:
        raised()
    except ValueError as error:
        Hand(lines, writer).handle(
            logging.makeLogRecord({"msg": "unhandled", "exc_info": sys.exc_info()})
        )
        without_frames(error)
    writer.handle(lines.get())
    text = json.loads(disk.getvalue())["exception"]
    assert text.startswith("Traceback")
    assert text.count(", in raised\n") == 2  # of the error, and of its cause


def raised():
    try:
        raise OSError("the cause")
    except OSError as cause:
        raise ValueError("the error") from cause
