"""Banks hold at most their bytes, forget what was used longest ago, and shrink where the device has less room."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.model.banks import Bank
from service.model.memory import CacheSizes

KEY = ("tenant", b"digest")


def test_what_was_put_is_found_until_it_is_discarded():
    bank = Bank(10)
    assert bank.get(KEY) is None
    bank.put(KEY, "value", 4)
    assert (bank.get(KEY), bank.held_bytes) == ("value", 4)
    assert bank.get(("other", b"digest")) is None
    bank.discard(KEY)
    bank.discard(KEY)
    assert (bank.get(KEY), bank.held_bytes) == (None, 0)


def test_the_least_recently_used_goes_first():
    bank = Bank(10)
    for name in "abc":
        bank.put(("t", name.encode()), name, 3)
    bank.get(("t", b"a"))
    bank.put(("t", b"d"), "d", 3)
    assert [bank.get(("t", name)) for name in (b"a", b"b", b"c", b"d")] == ["a", None, "c", "d"]


def test_what_never_fits_is_not_kept_and_costs_nobody_a_place():
    bank = Bank(10)
    bank.put(KEY, "small", 5)
    bank.put(("t", b"large"), "large", 11)
    assert bank.get(KEY) == "small"
    assert bank.get(("t", b"large")) is None


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 12)), max_size=40))
def test_never_more_than_its_bytes(puts):
    bank, last = Bank(20), {}
    for name, size in puts:
        bank.put(("t", bytes([name])), size, size)
        last[name] = size
        held = {n: bank.get(("t", bytes([n]))) for n in last}
        assert bank.held_bytes == sum(size for size in held.values() if size is not None) <= 20
        assert all(size in (None, last[n]) for n, size in held.items())
        assert held[name] == size


@pytest.mark.parametrize(
    ("room", "expected"),
    [(None, (600, 200)), (800, (600, 200)), (400, (300, 100)), (0, (0, 0))],
    ids=["a CPU", "enough", "half", "none"],
)
def test_caches_shrink_alike_to_the_room_there_is(room, expected):
    sizes = CacheSizes(feature_bytes=600, prefix_bytes=200, rewards=7).within(room)
    assert (sizes.feature_bytes, sizes.prefix_bytes, sizes.rewards) == (*expected, 7)
