"""The fault matrix: whatever happens between client and server, each row is its right reward or a typed error."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from basereward_client import (
    DeadlineExceeded,
    FingerprintChanged,
    InvalidAnswer,
    RewardError,
    ServerFailure,
    Unavailable,
)
from tests.client.fault_proxy import (
    Fault,
    duplicate,
    hang,
    other_fingerprint,
    other_numerics,
    proxied,
    refuse,
    reset_in_answer,
    reset_in_request,
    slow_body,
    slow_first_byte,
)
from tests.client.serving import (
    ALLOWANCE_S,
    EITHER,
    FOR_GOOD,
    KINDS,
    Live,
    nothing_but_errors,
    score,
    some_items,
)
from tests.client.wrong_answers import WRONG
from tests.models import StandIn

pytestmark = pytest.mark.usefixtures("hurry")


@dataclass(frozen=True)
class Row:
    """What happens to the requests of one call, and what comes of it.

    Args:
        error: that on_error "raise" raises; None: every reward is right.
        raised_anyway: with on_error "none" too; else every row is None, with a reason.
        tries: requests that arrive; None: however many fit into the deadline.
    """

    name: str
    faults: list[Fault]
    error: type[RewardError] | None = None
    raised_anyway: bool = False
    tries: int | None = None
    timeout: float = 10.0
    settings: dict[str, Any] = field(default_factory=dict)


MATRIX = [
    Row("clear", [], tries=1),
    Row("reset in the request", [reset_in_request] * 2, tries=3),
    Row("reset in the answer", [reset_in_answer] * 2, tries=3),
    Row("reset for good", [reset_in_answer] * FOR_GOOD, DeadlineExceeded, timeout=0.3),
    Row("burst of 502, 503, 504", [refuse(status) for status in (502, 503, 504, 502)], tries=5),
    Row("503 with Retry-After: 0", [refuse(503, "0")], tries=2),
    Row("503 for good", [refuse(503)] * FOR_GOOD, DeadlineExceeded, timeout=0.3),
    Row("Retry-After beyond the deadline", [refuse(503, "3600")], tries=2, timeout=0.4),
    Row(
        "429 for good, 2 retries", [refuse(429)] * 9, Unavailable, tries=3, settings={"retries": 2}
    ),
    Row("502, no retries", [refuse(502)], Unavailable, tries=1, settings={"retries": 0}),
    Row("500", [refuse(500)], ServerFailure, tries=1),
    Row("slow first byte", [slow_first_byte(0.15)], tries=1),
    Row("slow body", [slow_body(0.15)], tries=1),
    Row("first byte after the deadline", [hang], DeadlineExceeded, timeout=0.3, tries=1),
    Row("body after the deadline", [slow_body(5.0)], DeadlineExceeded, timeout=0.3, tries=1),
    Row("delivered twice", [duplicate], tries=1),
    Row(
        "another function than the pinned, once",
        [other_fingerprint()],
        tries=2,
        settings={"expect_fingerprint": StandIn().info.fingerprint},
    ),
    Row(
        "another function than the pinned, for good",
        [other_fingerprint()] * FOR_GOOD,
        FingerprintChanged,
        raised_anyway=True,
        timeout=0.3,
        settings={"expect_fingerprint": StandIn().info.fingerprint},
    ),
    Row(
        "other numerics than the pinned, once",
        [other_numerics()],
        tries=2,
        settings={"expect_numerics": StandIn().info.numerics},
    ),
    Row(
        "other numerics than the pinned, for good",
        [other_numerics()] * FOR_GOOD,
        FingerprintChanged,
        raised_anyway=True,
        timeout=0.3,
        settings={"expect_numerics": StandIn().info.numerics},
    ),
    Row(
        "412 for good",
        [],
        FingerprintChanged,
        raised_anyway=True,
        timeout=0.3,
        settings={"expect_fingerprint": "sha256:of long ago"},
    ),
    Row(
        "412 for good, 1 retry",
        [],
        FingerprintChanged,
        raised_anyway=True,
        tries=2,
        settings={"expect_numerics": "of another chip", "retries": 1},
    ),
    *(Row(f"{name}, twice", [fault] * 2, tries=3) for name, fault in WRONG.items()),
    *(Row(f"{name}, for good", [f] * 9, InvalidAnswer, tries=3) for name, f in WRONG.items()),
]


@EITHER
@pytest.mark.parametrize("row", MATRIX, ids=lambda row: row.name)
def test_matrix(server: Live, row: Row, on_error: str) -> None:
    """Both clients at once, each through weather of its own."""
    with ThreadPoolExecutor(2) as pool:
        for ended in [pool.submit(_weather, server, row, kind, on_error) for kind in KINDS]:
            ended.result()


def _weather(server: Live, row: Row, kind: str, on_error: str) -> None:
    items, expected = some_items(tag=f"{row.name} {kind} {on_error}")
    options = {"timeout": row.timeout, "on_error": on_error, **row.settings}
    begun = time.monotonic()
    with proxied(server.portal, [server.port], row.faults) as proxy:
        if row.error is None:
            assert score(kind, items, proxy.url, **options) == expected
        elif on_error == "raise" or row.raised_anyway:
            with pytest.raises(row.error) as caught:
                score(kind, items, proxy.url, **options)
            assert type(caught.value) is row.error
        else:
            nothing_but_errors(score(kind, items, proxy.url, **options), expected)
    assert time.monotonic() - begun < row.timeout + ALLOWANCE_S
    if row.tries is not None:
        assert len(proxy.arrived) == row.tries
    assert len(proxy.arrived) > 1 or row.tries == 1
