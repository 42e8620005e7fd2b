"""Names and connections of the tests' own, for the fetcher to ask."""

import httpx
import pytest

from service.errors import InvalidRequest
from service.inputs.fetch import Fetcher, FetchRules

PUBLIC = "93.184.216.34"
HOST = "pics.example"
URL = f"https://{HOST}/a.png"


def answered(status=200, content=b"picture", **headers):
    return httpx.Response(status, headers=headers, stream=httpx.ByteStream(content))


class Network:
    """Stands for names and connections; remembers what was asked of it."""

    def __init__(self, addresses=(PUBLIC,), answer=None):
        self.addresses = list(addresses)
        self.answer = answer or answered()
        self.resolved = []
        self.requests = []

    def resolve(self, host, port):
        self.resolved.append((host, port))
        return self.addresses

    def handle(self, request):
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def fetch(self, url, **rules):
        rules = {"hosts": frozenset({HOST})} | rules
        return Fetcher(FetchRules(**rules), httpx.MockTransport(self.handle), self.resolve).fetch(
            url
        )

    def refusal(self, url=URL, **rules):
        with pytest.raises(InvalidRequest) as caught:
            self.fetch(url, **rules)
        for secret in (*self.addresses, HOST, "Error"):
            assert secret not in caught.value.message
        return caught.value.code
