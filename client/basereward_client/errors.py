"""What a call can raise; all of it crosses process pools.

RewardError
├── BadRequest            another 4xx, or an item that is no JSON: `param` and `items` say where
├── Unauthorized          401
├── FingerprintChanged    412, or a reward of another function than the pinned one or another chunk's
├── Unavailable           no connection, 429, 502, 503 or 504, until the retries were used up
│   └── DeadlineExceeded  … or the deadline had passed
├── InvalidAnswer         200, but not the rewards that were asked for
├── ServerFailure         500
├── NotReady              of `wait_ready`
└── InvalidPicture        cannot be read or encoded here; `items[0].index` is the item
"""

import re
from collections.abc import Sequence
from typing import Any

from basereward_client.rewards import ItemError


class RewardError(Exception):
    """
    Attributes:
        code: the server's (API.md §2); where the client found the fault, the class's name.
        request_id: of the answer, where there was one.
        param: the field at fault.
        items: every bad item, by its index among the caller's.
    """

    code: str
    request_id: str | None = None
    param: str | None = None
    items: Sequence[ItemError] = ()
    retry_after_s: float = 0.0

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(self).__name__).lower()
        vars(self).update(details)


class BadRequest(RewardError):
    """The caller's to mend."""


class Unauthorized(RewardError):
    """No key, or one that opens nothing."""


class FingerprintChanged(RewardError):
    """Two scales of reward are never mixed.

    Attributes:
        expected: the pinned fingerprint, or numerics; None where the server alone said that they differ.
        served: what is served, or was answered.
    """

    expected: str | None = None
    served: str | None = None


class Unavailable(RewardError):
    """The same call may succeed later."""


class DeadlineExceeded(Unavailable):
    """The call's own."""


class InvalidAnswer(RewardError):
    """Nothing of it is used."""


class ServerFailure(RewardError):
    """The server's to mend."""


class NotReady(RewardError):
    """Within the time given."""


class InvalidPicture(RewardError):
    """Unreadable, or none."""
