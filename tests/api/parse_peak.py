"""How much memory reading a body takes at its peak, each in a process of its own: `python -m tests.api.parse_peak`."""

import gc
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from service.api.compat import FORMATS
from service.api.endpoint import Sent, WireFormat
from service.api.items import Rules
from service.api.score import SCORE
from service.api.strict_json import JsonReader
from service.errors import ServiceError
from service.settings import Settings

FIXED_MIB, MIB_A_MB = 20, 20
ROUTES = {wire.paths[0]: wire for wire in (SCORE, *FORMATS)}
FILLINGS = {
    "numbers": (b"1", 2),
    "texts": (b'"a"', 1),
    "lists": (b"[]", 3),
    "objects": (b"{}", 4),
    "nests": (b'{"a":{}}', 7),
    "deep-lists": (b"[" * 50 + b"]" * 50, 101),
    "deep-objects": (b'{"a":' * 50 + b"1" + b"}" * 50, 151),
    "turns": (b'{"role":"user","content":"a"}', 5),
    "parts": (b'{"type":"text","text":"a"}', 5),
}
# Where a list, or an object of as many keys, stands in a body of each route.
PLACES = {
    "/score": [
        b'{"items":%b}',
        b'{"prompt":"a","response":"b","images":%b}',
        b'{"prompt":"a","response":"b","image":{"a":%b}}',
        b'{"prompt":"a","responses":%b}',
        b'{"response":"b","messages":%b}',
        b'{"response":"b","messages":[{"role":"user","content":%b}]}',
        b'{"items":[{"response":"b","messages":[{"role":"user","content":{"a":%b}}]}]}',
        b'{"prompt":"a","response":"b","transform":{"sigmoid":%b}}',
        b'{"prompt":"a","response":"b","colour":%b}',
    ],
    "/get_reward": [
        b'{"query":%b}',
        b'{"query":["a"],"labels":%b}',
        b'{"query":["a"],"prompts":%b}',
    ],
    "/v1/score/evaluation": [b'{"messages":%b}', b'{"messages":["a"],"b":%b}'],
    "/reward": [b'{"prompt":%b,"response":"a"}', b'{"prompt":"a","response":"a","label":%b}'],
    "/verify": [
        b'{"responses_create_params":{"input":%b},"response":{"output":[{"content":"a"}]}}',
        b'{"responses_create_params":{"input":"a"},"response":{"output":%b}}',
        b'{"responses_create_params":{"input":"a"},"response":{"output":[{"content":"a"}]},"x":%b}',
    ],
    "/classify": [b'{"input":%b}', b'{"messages":%b}', b'{"input":"a","b":%b}'],
    "/v2/models/{name}/infer": [
        b'{"inputs":%b}',
        b'{"inputs":[{"name":"a","datatype":"BYTES","shape":[1],"data":%b}]}',
        b'{"inputs":[{"name":"a","datatype":"BYTES","shape":%b,"data":[]}]}',
        b'{"inputs":[{"name":"a","datatype":"BYTES","shape":[1],"data":["a"],"parameters":{"a":%b}}]}',
        b'{"inputs":[{"name":"a","datatype":"BYTES","shape":[1],"data":["a"]}],"outputs":%b}',
    ],
}


def bodies(names: Sequence[str], members: int) -> Iterator[tuple[str, WireFormat, bytes]]:
    for path, places in PLACES.items():
        for place in places:
            for name in names:
                one, cost = FILLINGS[name]
                filling = b"[" + b",".join([one] * (members // cost)) + b"]"
                yield f"{path} {place.decode()} {name}", ROUTES[path], place % filling
            keys = b"{" + b",".join(b'"k%d":1' % i for i in range(members)) + b"}"
            yield f"{path} {place.decode()} keys", ROUTES[path], place % keys


def read(wire: WireFormat, body: bytes) -> str:
    headers: dict[str, str] = {}
    reader = JsonReader(Settings().max_json_members)
    sent = Sent(bytearray(body), reader, "application/json", headers, {}, {"name": "basereward"})
    try:
        asked = wire.read(sent, Rules("before_text", Settings().max_text_chars))
    except ServiceError as error:
        return error.code
    return f"{len(asked.parsed.items)} items"


def peak_mib(work: Callable[[], str]) -> tuple[float, str]:
    """The growth of the resident set in a forked child, and what the work answered."""
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        Path("/proc/self/clear_refs").write_text("5", "ascii")
        before = _peak_kib()
        answer = work()
        os.write(writable, json.dumps([(_peak_kib() - before) / 1024, answer]).encode())
        os._exit(0)
    os.close(writable)
    with os.fdopen(readable, "rb") as pipe:
        told = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    grown, answer = json.loads(told)
    return grown, answer


def _peak_kib() -> int:
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def main() -> None:
    """One line of JSON a body: name, megabytes, MiB of growth, answer. Arguments: fillings, else all."""
    gc.freeze()
    names = sys.argv[1:] or list(FILLINGS)
    for _, wire, body in bodies(names, 1000):
        read(wire, body)  # so that the libraries' own pages are there
    for name, wire, body in bodies(names, Settings().max_json_members - 40):
        grown, answer = peak_mib(lambda wire=wire, body=body: read(wire, body))
        sys.stdout.write(json.dumps([name, len(body) / 1e6, grown, answer]) + "\n")


if __name__ == "__main__":
    main()
