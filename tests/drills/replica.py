"""`tests.live.faulty` that forgets what it scored, so that its memory can be judged, and may be another function.

`FINGERPRINT` names the function, and every reward of it is greater by `BONUS`.
"""

import os
import sys
from dataclasses import replace
from unittest import mock

from tests.live import faulty


class _Nothing(list):
    def append(self, _: object) -> None:
        pass


class Replica(faulty.Faulty):
    def __init__(self) -> None:
        super().__init__()
        self.items = self.rasters = self.staged = self.steps = _Nothing()
        self._bonus = float(os.environ.get("BONUS", "0"))
        named = os.environ.get("FINGERPRINT", self.info.fingerprint)
        self.info = replace(self.info, fingerprint=named)

    def score(self, step):
        self._held()  # for as long as it takes; the stand-in itself would give up after 30 s
        return [[r + self._bonus for r in group] for group in super().score(step)]


if __name__ == "__main__":
    with mock.patch.object(faulty, "Faulty", Replica):
        sys.exit(faulty.main())
