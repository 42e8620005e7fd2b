"""A training run that pinned its reward function, while the replicas are replaced by ones with another function."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from basereward_client import AsyncRewardClient, FingerprintChanged
from tests.drills.balancer import Balancer, Replica, balancing
from tests.drills.conftest import FAULTY
from tests.drills.traffic import metric, wait_for
from tests.live.conftest import serving
from tests.models import reward

pytestmark = pytest.mark.anyio


BONUS = {"sha256:old": 0, "sha256:new": 100}  # no reward of one can be taken for the other's
OLD, NEW = BONUS
ROWS = 8  # of a call


class Run:
    """Calls one after another, until its function is gone or it has had enough."""

    def __init__(self, url: str, pinned: str | None) -> None:
        self._url, self._pinned = url, pinned
        self.believed: Counter[str] = Counter()  # calls, by fingerprint
        self.wrong = 0  # rewards that are not those of the fingerprint that came with them
        self.ended_by: FingerprintChanged | None = None
        self.enough = asyncio.Event()

    async def go(self) -> None:
        client = AsyncRewardClient(self._url, expect_fingerprint=self._pinned, timeout=6)
        async with client:
            while not self.enough.is_set():
                number = self.believed.total()
                items = [{"prompt": f"p{number}", "response": f"r{i}"} for i in range(ROWS)]
                try:
                    rewards = await client.score(items)
                except FingerprintChanged as error:
                    self.ended_by = error
                    return
                self.believed[rewards.fingerprint] += 1
                right = [reward(**item) + BONUS[rewards.fingerprint] for item in items]
                self.wrong += sum(a != b for a, b in zip(rewards, right, strict=True))
                await asyncio.sleep(0.02)


@pytest.fixture
def start():
    """Starts replicas of a fingerprint."""
    with ExitStack() as stack:

        def one(fingerprint: str) -> Replica:
            env = {"FINGERPRINT": fingerprint, "BONUS": str(BONUS[fingerprint])}
            server = stack.enter_context(serving("--ops-port", "0", program=FAULTY, env=env))
            return Replica(server.ready(), fingerprint)

        yield one


async def _replace(balancer: Balancer, start: Callable[[str], Replica]) -> int:
    """One old replica after another by a new one, as a Deployment does it; how many 412 the new ones gave."""
    old = list(balancer.replicas)
    for one in old:
        balancer.replicas.append(await asyncio.to_thread(start, NEW))
        balancer.replicas.remove(one)  # the preStop pause: nothing new comes to it
        await asyncio.sleep(0.5)
        one.server.term()
        assert await asyncio.to_thread(one.server.wait) == 0
    return _refused(balancer)


def _refused(balancer: Balancer) -> int:
    line = 'rejections_total{reason="fingerprint_mismatch"}'
    return int(sum(metric(one.server, line) for one in balancer.replicas))


async def _comes(condition: Callable[[], bool]) -> None:
    await asyncio.to_thread(wait_for, condition, 60)


async def test_rolling_update(start, note, full):
    """The pinned run believes nothing of the new function, and ends when the old one is gone."""
    balancer = Balancer(replicas=[start(OLD) for _ in range(3 if full else 2)])
    async with balancing(balancer) as url:
        pinned, other = Run(url, OLD), Run(url, None)
        going = asyncio.gather(pinned.go(), other.go())
        await _comes(lambda: pinned.believed[OLD] > 20)
        await _replace(balancer, start)
        await _comes(lambda: pinned.ended_by is not None)
        await _comes(lambda: other.believed[NEW] > 20)
        other.enough.set()
        await going
        refused = _refused(balancer)
    note(
        replicas=len(balancer.replicas),
        pinned_believed=dict(pinned.believed),
        refused_with_412=refused,
        pinned_ended_by=type(pinned.ended_by).__name__,
        unpinned_believed=dict(other.believed),
        wrong=pinned.wrong + other.wrong,
    )
    assert set(pinned.believed) == {OLD}
    assert refused > 0
    assert set(other.believed) == {OLD, NEW}  # this is what pinning spares a run
    assert pinned.wrong + other.wrong == 0


async def test_blue_green(start, note, full):
    """With a Deployment for each fingerprint, and the gateway choosing by header, the pinned run never notices."""
    each = 3 if full else 1
    balancer = Balancer(default=OLD, by_header=True, replicas=[start(OLD) for _ in range(each)])
    async with balancing(balancer) as url:
        pinned, other = Run(url, OLD), Run(url, None)
        going = asyncio.gather(pinned.go(), other.go())
        await _comes(lambda: pinned.believed[OLD] > 20)
        balancer.replicas += [await asyncio.to_thread(start, NEW) for _ in range(each)]
        balancer.default = NEW
        await _comes(lambda: other.believed[NEW] > 20)
        at_change = pinned.believed[OLD]
        await _comes(lambda: pinned.believed[OLD] > at_change + (500 if full else 50))
        pinned.enough.set()
        other.enough.set()
        await going
        refused = _refused(balancer)
    note(
        replicas=len(balancer.replicas),
        pinned_believed=dict(pinned.believed),
        refused_with_412=refused,
        pinned_ended_by="itself",
        unpinned_believed=dict(other.believed),
        wrong=pinned.wrong + other.wrong,
    )
    assert pinned.ended_by is None
    assert set(pinned.believed) == {OLD}
    assert refused == 0
    assert pinned.wrong + other.wrong == 0
