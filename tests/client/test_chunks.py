"""What a call becomes on the wire: chunks within the limits, siblings together, order restored, bytes saved."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from basereward_client import RewardClient, request
from basereward_client.pictures import Pictures
from tests.client.serving import CAT, CAT_PNG, STREET, STREET_PNG, Live, some_items
from tests.inputs.pictures import data_uri, encoded, pixels
from tests.models import reward

PICTURES = {None: (), "street": (STREET,), "cat": (CAT,)}
FILES = {"street": STREET_PNG, "cat": CAT_PNG}


@pytest.fixture(scope="module")
def client(server: Live) -> Iterator[RewardClient]:
    with RewardClient(server.url) as one:
        yield one


contexts = st.tuples(st.sampled_from("pqrs"), st.sampled_from([None, "street", "cat"]))
responses = st.one_of(
    st.text("ab<|", max_size=4), st.lists(st.text("ab", max_size=3), min_size=1, max_size=6)
)
items = st.lists(st.tuples(contexts, responses), max_size=30)
sizes = st.one_of(st.integers(300, 9000), st.just(2**20))
limits = st.tuples(st.integers(1, 8), sizes, st.integers(1, 3))


def _item(context: tuple[str, str | None], given: str | list[str]) -> dict[str, Any]:
    prompt, picture = context
    images = {} if picture is None else {"images": [FILES[picture]]}
    key = "response" if isinstance(given, str) else "responses"
    return {"prompt": prompt, key: given} | images


def _expected(context: tuple[str, str | None], given: str | list[str]) -> Any:
    prompt, picture = context
    if isinstance(given, str):
        return reward(prompt, given, *PICTURES[picture])
    return [reward(prompt, one, *PICTURES[picture]) for one in given]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=items, limit=limits)
def test_every_split_gives_every_reward_in_its_place(
    client: RewardClient, monkeypatch: pytest.MonkeyPatch, rows: Any, limit: Any
) -> None:
    monkeypatch.setattr(request, "LIMITS", limit)
    rewards = client.score(_item(*row) for row in rows)
    assert rewards == [_expected(*row) for row in rows]
    assert (rewards.errors, rewards.usage.get("responses", 0)) == (
        [],
        sum(1 if isinstance(given, str) else len(given) for _, given in rows),
    )


def _chunks(wanted: list[dict[str, Any]]) -> list[request.Chunk]:
    pictures = Pictures(None)
    planned = [request.planned(i, item, pictures, "c") for i, item in enumerate(wanted)]
    return request.chunked(planned, pictures.sources)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=items, limit=limits)
def test_chunks_keep_to_the_limits_and_siblings_to_their_chunk(
    monkeypatch: pytest.MonkeyPatch, rows: Any, limit: Any
) -> None:
    monkeypatch.setattr(request, "LIMITS", limit)
    chunks = _chunks([_item(*row) for row in rows])
    indices = [item.index for chunk in chunks for item in chunk.items]
    assert sorted(indices) == list(range(len(rows)))
    homes: dict[str, set[int]] = {}
    for number, chunk in enumerate(chunks):
        count = sum(item.responses or 1 for item in chunk.items)
        shown = frozenset[str]().union(*(item.refs for item in chunk.items))
        assert (count <= limit[0] and len(shown) <= limit[2]) or len(chunk.items) == 1
        for item in chunk.items:
            homes.setdefault(item.context, set()).add(number)
    for context, numbers in homes.items():
        assert numbers == set(range(min(numbers), max(numbers) + 1))  # adjacent
        if len(numbers) > 1:  # together they exceed a chunk
            family = [i for c in chunks for i in c.items if i.context == context]
            assert not request.Chunk(Anything()).take(family)


class Anything(dict[str, bytes]):
    """Pictures of the size that those of these tests have at least."""

    def __missing__(self, _: str) -> bytes:
        return STREET_PNG if len(STREET_PNG) < len(CAT_PNG) else CAT_PNG


def test_a_chunk_holds_512_responses_and_a_group_is_never_cut() -> None:
    rows = [{"prompt": f"p{i}", "response": "r"} for i in range(1025)]
    assert [len(chunk.items) for chunk in _chunks(rows)] == [512, 512, 1]
    group = {"prompt": "p", "responses": ["r"] * 600}
    assert [len(chunk.items) for chunk in _chunks([*rows[:2], group, rows[2]])] == [2, 1, 1]


def test_a_chunk_holds_32_mebibytes() -> None:
    rows = [{"prompt": f"p{i}", "response": "r", "image": bytes([i]) * 2**23} for i in range(9)]
    assert [len(chunk.items) for chunk in _chunks(rows)] == [3, 3, 3]
    shared = [{"prompt": f"p{i}", "response": "r", "image": bytes(2**23)} for i in range(9)]
    assert [len(chunk.items) for chunk in _chunks(shared)] == [9]  # sent once


def test_siblings_have_equal_contexts_however_they_are_written() -> None:
    group = {"prompt": "p", "responses": ["a", "b"], "images": [STREET_PNG]}
    single = {"prompt": "p", "response": "c", "images": (bytearray(STREET_PNG),), "id": "x"}
    short = {"prompt": "p", "response": "d", "image": STREET_PNG}
    others = [
        {"prompt": "q", "response": "a", "images": [STREET_PNG]},
        {"prompt": "p", "response": "a", "images": [CAT_PNG]},
        {"prompt": "p", "response": "a", "images": [STREET_PNG], "system": "s"},
    ]
    keys = [chunk.items[0].context for item in (group, single, short) for chunk in _chunks([item])]
    assert len(set(keys)) == 1
    assert len({_chunks([item])[0].items[0].context for item in [group, *others]}) == 4
    turn = {"role": "user", "content": "p"}
    chats: list[dict[str, Any]] = [
        {"messages": [turn], "response": "a"},
        {"messages": [turn], "responses": ["b"]},
        {"messages": [turn, {"role": "assistant", "content": "c"}]},
    ]
    assert len({_chunks([item])[0].items[0].context for item in chats}) == 1


def _body(*wanted: dict[str, Any]) -> dict[str, Any]:
    (chunk,) = _chunks(list(wanted))
    return chunk.body({"on_error": "fail"})


def test_pictures_go_as_parts_where_that_is_smaller() -> None:
    large = encoded(pixels(60, 60))
    tiny = encoded(pixels(60, 60) * 0)
    assert len(tiny) < 300 < len(large)
    assert set(_body({"prompt": "p", "response": "r", "image": large})) == {"files"}
    assert set(_body({"prompt": "p", "response": "r", "image": tiny})) == {"content"}
    assert set(_body({"prompt": "p", "response": "r"})) == {"content"}


@pytest.mark.parametrize("size", [8, 20, 24, 28, 60])
def test_the_smaller_form_is_chosen(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Within what a boundary weighs."""
    items = [{"prompt": "p", "response": "r", "image": encoded(pixels(size, size))}]

    def weight(part_bytes: int) -> int:
        monkeypatch.setattr(request, "PART_BYTES", part_bytes)
        return len(httpx.Request("POST", "http://x", **_body(*items)).read())

    chosen = weight(request.PART_BYTES)
    assert chosen <= min(weight(-(2**20)), weight(2**20)) + 100


def test_a_picture_stands_once_in_a_body_whoever_shows_it() -> None:
    rows = [{"prompt": f"p{i}", "response": "r", "image": encoded(pixels())} for i in range(9)]
    rows += [{"prompt": f"q{i}", "response": "r", "image": data_uri(CAT_PNG)} for i in range(9)]
    files = _body(*rows)["files"]
    body = json.loads(files.pop("request")[1])
    assert (len(files), len(body["image_table"])) == (1, 1)
    assert len({item["image"]["ref"] for item in body["items"]}) == 2


def test_texts_and_parts_and_tables_mix(client: RewardClient) -> None:
    """A form, whose JSON holds a table of strings beside."""
    rows = [
        {"prompt": "p", "response": "r", "images": [data_uri(CAT_PNG), STREET_PNG]},
        {"prompt": "<image> p", "response": "r", "images": [STREET_PNG], "image_tag": "<image>"},
    ]
    first, _ = client.score(rows)
    assert first == reward("p", "r", CAT, STREET)


def test_items_of_every_shape(client: RewardClient) -> None:
    wanted, expected = some_items()
    assert client.score(wanted) == expected
    assert client.score(iter(wanted)) == expected
    assert client.score([]) == []
