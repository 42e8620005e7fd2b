"""The function behind the URL changes: two scales of reward are never mixed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from basereward_client import FingerprintChanged, RewardClient, request
from tests.client.fault_proxy import Fault, other_fingerprint, other_numerics, proxied
from tests.client.serving import BOTH, EITHER, FOR_GOOD, Live, live, score, some_items
from tests.models import StandIn, reward

pytestmark = pytest.mark.usefixtures("hurry")


@BOTH
@EITHER
@pytest.mark.parametrize("other", [other_fingerprint(), other_numerics()])
def test_two_functions_in_one_call_are_never_mixed(
    server: Live, monkeypatch: pytest.MonkeyPatch, kind: str, on_error: str, other: Fault
) -> None:
    monkeypatch.setattr(request, "LIMITS", (2, 2**20, 100))
    items = [{"prompt": f"p{i}", "response": "a"} for i in range(6)]
    with (
        proxied(server.portal, [server.port], [other]) as proxy,
        pytest.raises(FingerprintChanged, match="in one call"),
    ):
        score(kind, items, proxy.url, on_error=on_error)


def test_the_first_function_is_pinned_for_the_life_of_the_client(server: Live) -> None:
    item = {"prompt": "p", "response": "a"}
    known = StandIn().info.fingerprint
    with proxied(server.portal, [server.port]) as proxy:
        with RewardClient(proxy.url, expect_fingerprint="first", timeout=0.3) as client:
            assert client.score([item]).fingerprint == known
            proxy.faults += [other_fingerprint()] * FOR_GOOD
            with pytest.raises(FingerprintChanged, match=known):
                client.score([item])
            proxy.faults.clear()
            assert client.score([item]).fingerprint == known
        with RewardClient(proxy.url) as client:  # nothing is pinned: told, not refused
            proxy.faults += [other_fingerprint()]
            assert [client.score([item]).fingerprint for _ in "ab"] == ["sha256:other", known]


@BOTH
def test_412_is_asked_again_on_a_fresh_connection(server: Live, kind: str) -> None:
    """A balancer leads each connection to one replica; a rollout has reached some."""
    items, expected = some_items(tag=kind)
    with _updated() as new, proxied(server.portal, [server.port, server.port, new.port]) as proxy:
        pinned = {"expect_fingerprint": new.model.info.fingerprint}
        # Sooner than an idle connection would be given up anyway.
        rewards = score(kind, items, proxy.url, timeout=3, **pinned)
        assert proxy.connections == 3
    assert (rewards, rewards.fingerprint) == (expected, new.model.info.fingerprint)
    assert server.model.info.fingerprint != rewards.fingerprint


@BOTH
def test_412_is_asked_again_of_another_url(server: Live, kind: str) -> None:
    with _updated() as new:
        for response in "abcd":  # whichever URL comes first
            item = {"prompt": f"p{response}", "response": response}
            pinned = new.model.info.fingerprint
            urls = [server.url, new.url]
            assert score(kind, [item], urls, expect_fingerprint=pinned) == [reward(**item)]


@contextmanager
def _updated() -> Iterator[Live]:
    model = StandIn()
    model.info = replace(model.info, fingerprint="sha256:new")
    with live(model) as one:
        yield one
