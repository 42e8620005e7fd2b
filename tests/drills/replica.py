"""`tests.live.faulty` as another function: `FINGERPRINT` names it, and every reward is greater by `BONUS`."""

import os
import sys
from dataclasses import replace
from unittest import mock

from tests.live import faulty


class Replica(faulty.Faulty):
    def __init__(self) -> None:
        super().__init__()
        self.info = replace(self.info, fingerprint=os.environ["FINGERPRINT"])
        self._bonus = float(os.environ["BONUS"])

    def score(self, step):
        return [[r + self._bonus for r in group] for group in super().score(step)]


if __name__ == "__main__":
    with mock.patch.object(faulty, "Faulty", Replica):
        sys.exit(faulty.main())
