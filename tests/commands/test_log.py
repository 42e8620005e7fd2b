"""What the log says where lines cannot be written."""

import errno
import io
import json
import logging

from service.log import JsonFormatter, Writer


class Disk(io.StringIO):
    full = False

    def write(self, text: str) -> int:
        if self.full:
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
