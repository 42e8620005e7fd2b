"""Signs of reward hacking: what is kept as rewards go by equals what numpy makes of all of them at once."""

import numpy as np
import pytest

from service.core import RewardSigns
from service.engine.signs import GROUP_IDLE_S, MEMORY, OPEN_GROUPS, RunSigns, Signs
from service.metrics import Metrics


def groups_of(rng, groups=12, siblings=8):
    lengths = rng.integers(5, 200, (groups, siblings))
    rewards = (
        rng.normal(size=(groups, 1)) * 10 + rng.normal(size=(groups, siblings)) + lengths / 100
    )
    return rewards.round(1), lengths  # one decimal: some tie


def directly(rewards, lengths) -> RewardSigns:
    r = rewards - rewards.mean(1, keepdims=True)
    n = lengths - lengths.mean(1, keepdims=True)
    groups, siblings = rewards.shape
    i, j = np.triu_indices(siblings, 1)
    return RewardSigns(
        float(np.sqrt((r**2).sum() / (groups * (siblings - 1)))),
        float((rewards[:, i] == rewards[:, j]).mean()),
        float((r * n).sum() / np.sqrt((r**2).sum() * (n**2).sum())),
    )


def close(found: RewardSigns, wanted: RewardSigns) -> bool:
    pairs = [(found.spread, wanted.spread), (found.tied_share, wanted.tied_share)]
    pairs += [(found.length_correlation, wanted.length_correlation)]
    return all(
        a == pytest.approx(b, rel=0.02, abs=1e-3) for a, b in pairs
    )  # old ones count a little less


@pytest.mark.parametrize("interleaved", [False, True])
def test_it_is_what_all_of_them_at_once_give(interleaved):
    rewards, lengths = groups_of(np.random.default_rng(1))
    order = [(g, s) for g in range(12) for s in range(8)]
    if interleaved:  # siblings in requests of their own
        order.sort(key=lambda gs: gs[1])
    signs = Signs()
    made = sum(
        signs.add(bytes([g]), float(rewards[g, s]), int(lengths[g, s]), 0.0) for g, s in order
    )
    assert made == 12
    wanted = directly(rewards, lengths)
    assert wanted.tied_share > 0.01
    assert wanted.length_correlation > 0.3
    assert close(signs.read(), wanted)


def test_the_level_of_a_group_is_no_spread():
    signs = Signs()
    for group in range(10):
        for _ in range(4):
            signs.add(bytes([group]), 10.0 * group, 5, 0.0)
    assert signs.read() == RewardSigns(0.0, 1.0, 0.0)


def test_single_responses_say_nothing():
    signs = Signs()
    assert not any(signs.add(bytes([i]), float(i), i, 0.0) for i in range(20))
    assert signs.read() == RewardSigns(0.0, 0.0, 0.0)


def test_what_is_old_fades():
    rng = np.random.default_rng(2)
    signs = Signs()

    def feed(rounds, scale):
        for k in range(rounds):
            for reward in rng.normal(size=8) * scale:
                signs.add(
                    rng.bytes(8) if k < 0 else k.to_bytes(4, "big") + bytes([scale]), reward, 5, 0.0
                )

    feed(200, 8)
    assert signs.read().spread == pytest.approx(8, rel=0.1)
    feed(6 * MEMORY // 7, 1)
    assert signs.read().spread == pytest.approx(1, rel=0.1)


def test_another_epochs_siblings_are_another_group():
    signs = Signs()
    signs.add(b"c", 0.0, 5, 0.0)
    assert not signs.add(b"c", 100.0, 5, GROUP_IDLE_S + 1)
    assert signs.read().spread == 0.0


def test_open_groups_are_bounded():
    signs = Signs()
    for i in range(10 * OPEN_GROUPS):
        signs.add(i.to_bytes(4, "big"), 0.0, 5, 0.0)
    assert len(signs.groups) == OPEN_GROUPS


def test_runs_are_bounded_and_the_one_scored_longest_ago_leaves_the_metrics():
    metrics = Metrics()
    runs = RunSigns(metrics, max_runs=2)
    siblings = [(b"c", 1.0, 5), (b"c", 2.0, 5)]
    for tenant, run in (("t", "a"), ("t", "b"), ("t", "a"), ("u", "a"), ("t", "c")):
        runs.add(tenant, run, siblings, 0.0)
    text = metrics.render().decode()
    assert 'basereward_run_groups_total{run="a",tenant="t"} 1.0' in text  # the same group again
    assert 'run="b"' not in text
    assert 'basereward_run_group_spread{run="a",tenant="u"} 0.70' in text


def test_one_tenants_runs_do_not_push_out_anothers_name():
    metrics = Metrics()
    runs = RunSigns(metrics, max_runs=2)
    runs.add("t", "a", [(b"c", 1.0, 5), (b"c", 9.0, 5)], 0.0)
    runs.add("u", "a", [(b"c", 1.0, 5), (b"c", 1.0, 5)], 0.0)
    text = metrics.render().decode()
    assert 'basereward_run_tied_share{run="a",tenant="t"} 0.0' in text
    assert 'basereward_run_tied_share{run="a",tenant="u"} 1.0' in text
