"""The budget of a request's JSON: members and depth counted on the bytes as a slow reader counts them."""

import json

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.api import strict_json
from service.api.strict_json import MAX_DEPTH, JsonReader
from service.errors import Busy, InvalidRequest

ANY = st.recursive(
    st.none() | st.integers(-9, 9) | st.text('ab"\\,[]{}:\n', max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text('a"\\{', max_size=3), inner)
    ),
    max_leaves=40,
)


def members(value) -> int:
    if isinstance(value, dict):
        return 2 + max(1, len(value)) + sum(map(members, value.values()))
    if isinstance(value, list):
        return 1 + max(1, len(value)) + sum(map(members, value))
    return 0


def depth(value) -> int:
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max(map(depth, inner), default=0) if isinstance(value, dict | list) else 0


@pytest.fixture(params=[7, 64, 2**18], ids=["pieces-of-7-bytes", "pieces-of-64", "one-piece"])
def counted_exactly(request, monkeypatch):
    monkeypatch.setattr(strict_json, "SMALL_BYTES", -1)
    monkeypatch.setattr(strict_json, "PIECE_BYTES", request.param)


@pytest.mark.usefixtures("counted_exactly")
@given(value=ANY, indent=st.sampled_from([None, 1]), ascii_only=st.booleans())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_members_and_depth_are_counted_exactly(value, indent, ascii_only):
    data = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()
    assert JsonReader(members(value)).read(data) == value
    if members(value):
        with pytest.raises(InvalidRequest, match="members") as caught:
            JsonReader(members(value) - 1).read(data)
        assert caught.value.code == "body_too_large"
    counter = strict_json._Counter(10**9)
    assert (counter.count(data), counter.depth) == (members(value), depth(value))


@pytest.mark.parametrize("bracket", [b"[]", b"{}"])
@pytest.mark.parametrize("around", [0, 2**17], ids=["small", "large"])
def test_depth_is_limited(bracket, around):
    """Two bytes around each level, and text that makes the body large."""

    def nested(levels: int) -> bytes:
        opening = b"[" if bracket == b"[]" else b'{"a":'
        inner = b'"' + b"[{" * (around // 2) + b'"'
        return opening * levels + inner + bracket[1:] * levels

    assert JsonReader(10**6).read(nested(MAX_DEPTH))
    with pytest.raises(InvalidRequest, match="deeper than 64") as caught:
        JsonReader(10**6).read(nested(MAX_DEPTH + 1))
    assert caught.value.code == "malformed_json"


def test_texts_in_the_json_take_from_the_same_budget():
    reader = JsonReader(13)
    assert reader.read(b"[1,2,3,4]") == [1, 2, 3, 4]
    assert reader.read_text("[1,2,3]") == [1, 2, 3]
    assert reader.read_text("no json") is None
    with pytest.raises(InvalidRequest, match="more than 13 members"):
        reader.read_text("[1,2,3,4]")
    assert reader.read(b"[1,2,3]") == [1, 2, 3]


def test_beyond_the_budget_no_more_than_a_piece_is_looked_at(monkeypatch):
    seen = []
    count = strict_json._Counter._count
    monkeypatch.setattr(
        strict_json._Counter, "_count", lambda self, p: (seen.append(len(p)), count(self, p))
    )
    body = b"[" + b"[]," * 3_000_000 + b"[]]"
    with pytest.raises(InvalidRequest, match="members"):
        JsonReader(1000).read(body)
    assert sum(seen) <= strict_json.PIECE_BYTES < len(body) / 10


def test_a_lack_of_memory_is_not_the_body_s_fault(monkeypatch):
    def lacks(_):
        raise MemoryError

    monkeypatch.setattr(orjson, "loads", lacks)
    with pytest.raises(Busy, match="no memory"):
        JsonReader(10).read(b"{}")


@given(data=st.binary(max_size=60) | st.lists(st.sampled_from(list(b'"\\[]{},a')), max_size=60))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_whatever_comes_is_json_or_a_refusal(data):
    data = bytes(data)
    try:
        value = JsonReader(20).read(data)
    except InvalidRequest as error:
        assert error.code in ("malformed_json", "body_too_large")  # noqa: PT017 - either may come
    else:
        assert value == orjson.loads(data)
