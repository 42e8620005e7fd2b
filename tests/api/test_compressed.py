"""Compressed bodies: unpacked within the limits, counted unpacked, refused by name where they are something else."""

import asyncio
import gzip
import json
import zlib

import pytest

from service.api.unpacking import PIECE_BYTES, Unpacker
from service.errors import InvalidRequest
from tests.api.serving import GOOD, RawCall, error_of, served
from tests.models import StandIn, reward

pytestmark = pytest.mark.anyio

BODY = json.dumps(GOOD).encode()


def bare(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


PACKED = {
    ("gzip", "gzip"): gzip.compress(BODY),
    ("GZip", "upper case"): gzip.compress(BODY),
    ("x-gzip", "x-gzip"): gzip.compress(BODY),
    ("gzip", "members"): gzip.compress(BODY[:9]) + gzip.compress(b"") + gzip.compress(BODY[9:]),
    ("deflate", "zlib"): zlib.compress(BODY),
    ("deflate", "bare"): bare(BODY),
    ("identity", "identity"): BODY,
    ("", "empty"): BODY,
    ("identity, gzip", "with identity"): gzip.compress(BODY),
}


@pytest.mark.parametrize(
    ("encoding", "packed"), [(e, p) for (e, _), p in PACKED.items()], ids=[n for _, n in PACKED]
)
@pytest.mark.parametrize("size", [1, 10_000])
async def test_it_is_unpacked_whatever_pieces_it_comes_in(encoding, packed, size):
    async with served() as server:
        call = RawCall(server.app, headers=[("content-encoding", encoding)])
        for start in range(0, len(packed), size):
            call.send(packed[start : start + size], more=start + size < len(packed))
        await call.run()
        assert call.status == 200, call.body
        assert json.loads(call.body)["reward"] == reward(**GOOD)


ROUTES = {
    "/get_reward": {"query": ["q"], "prompts": ["q"]},
    "/classify": {"input": "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\nr<|im_end|>"},
    "/v2/models/stand-in/infer": {
        "inputs": [{"name": "item", "shape": [1], "datatype": "BYTES", "data": [json.dumps(GOOD)]}]
    },
    "/aggregate_metrics": {"verify_responses": [{"_ng_task_index": 0, "reward": 1.0}]},
}


@pytest.mark.parametrize("path", ROUTES)
async def test_every_route_unpacks(path):
    body = json.dumps(ROUTES[path]).encode()
    async with served(StandIn(name="stand-in")) as server:
        answers = [
            await server.client.post(path, content=content, headers={"content-encoding": encoding})
            for content, encoding in ((body, ""), (gzip.compress(body), "gzip"))
        ]
    assert [a.status_code for a in answers] == [200, 200], answers[1].text


@pytest.mark.parametrize(
    "encoding", ["br", "zstd", "gzip, gzip", "gzip, br", "compress", "x" * 500]
)
async def test_other_encodings_are_refused_by_name(encoding):
    async with served() as server:
        answer = await server.client.post(
            "/score", content=BODY, headers={"content-encoding": encoding}
        )
        error = error_of(answer, 415, "unsupported_media_type")
        assert encoding[:64] in error["message"]
        assert answer.headers["accept-encoding"] == "gzip, deflate"


@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        ("gzip", BODY),
        ("deflate", BODY),
        ("gzip", zlib.compress(BODY)),
        ("deflate", gzip.compress(BODY)),
        ("gzip", gzip.compress(BODY)[:-9]),
        ("deflate", zlib.compress(BODY)[:-3]),
        ("deflate", zlib.compress(BODY) + b"more"),
        ("gzip", gzip.compress(BODY) + b"more"),
        ("deflate", b"x"),
    ],
)
async def test_what_it_does_not_claim_to_be_is_malformed(encoding, content):
    async with served() as server:
        headers = {"content-encoding": encoding}
        error = await server.refused(content, 400, "malformed_json", headers=headers)
        assert encoding in error["message"]


async def test_a_bomb_is_refused_before_it_is_unpacked():
    pieces = []
    with pytest.raises(InvalidRequest, match="100 times") as refused:
        pieces.extend(Unpacker("gzip", 100, "malformed_json").pieces(gzip.compress(bytes(10**8))))
    assert refused.value.code == "body_too_large"
    assert sum(map(len, pieces)) < 11 * 10**6  # 100 times what had come
    async with served() as server:
        headers = {"content-encoding": "gzip"}
        bomb = gzip.compress(b'{"a": "' + b"a" * 10**7 + b'"}')
        error = await server.refused(bomb, 413, "body_too_large", headers=headers)
        assert "100 times" in error["message"]


async def test_limits_are_of_what_it_unpacks_to():
    text = json.dumps(GOOD | {"prompt": "".join(map(str, range(2000)))}).encode()
    packed, headers = gzip.compress(text), {"content-encoding": "gzip"}
    async with served(max_body_bytes=len(text) - 1) as server:
        assert len(packed) < len(text) - 1
        await server.refused(packed, 413, "body_too_large", headers=headers)
    async with served(max_queued_bytes=len(text) - 1) as server:
        await server.refused(packed, 429, "overloaded", headers=headers)
    async with served(max_body_bytes=len(text), max_queued_bytes=len(text)) as server:
        for _ in range(3):  # what was counted is given back
            answer = await server.client.post("/score", content=packed, headers=headers)
            assert answer.status_code == 200


def test_a_piece_is_bounded_and_none_is_lost():
    data = b"".join(b"%d " % i for i in range(400_000))
    for encoding, packed in (("gzip", gzip.compress(data)), ("deflate", zlib.compress(data))):
        unpacker = Unpacker(encoding, 100, "malformed_json")
        pieces = list(unpacker.pieces(packed))
        unpacker.finish()
        assert b"".join(pieces) == data
        assert max(map(len, pieces)) <= PIECE_BYTES


def test_output_that_waits_behind_a_full_piece_comes():
    data = bytes(PIECE_BYTES * 2)
    unpacker = Unpacker("deflate", 10_000, "malformed_json")
    assert b"".join(unpacker.pieces(zlib.compress(data))) == data
    unpacker.finish()


async def test_others_go_on_while_a_large_body_is_unpacked():
    """Between any two pieces the event loop runs what waits."""
    data = gzip.compress(b'{"a": "' + b"".join(b"%d " % i for i in range(2_000_000)) + b'"}')
    rounds = 0

    async def count() -> None:
        nonlocal rounds
        while True:
            rounds += 1
            await asyncio.sleep(0)

    async with served() as server:
        call = RawCall(server.app, headers=[("content-encoding", "gzip")])
        call.send(data)
        counting = asyncio.create_task(count())
        await call.run()
        counting.cancel()
    assert rounds >= 15 * 10**6 // PIECE_BYTES
