"""Who has a part of the device now, how large, and what each has been served of it; the order inside is the line's."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from service.batching.ticket import Share

ShareKey = tuple[str, str]  # tenant, run

# Choosing a step looks at every share, so a tenant cannot have any number: further runs wait as one.
MAX_RUNS = 32


@dataclass(slots=True)
class Account:
    tenant_weight: float
    served: float  # `Queue.served` of the next step
    requests: int = 0


class Shares:
    """A share stands here while it has requests in line."""

    def __init__(self) -> None:
        self._accounts: dict[ShareKey, Account] = {}
        self._idle: dict[ShareKey, float] = {}  # served, of those who left owing
        self._runs: Counter[str] = Counter()  # of a tenant, in line

    def __iter__(self) -> Iterator[ShareKey]:
        return iter(self._accounts)

    def join(self, share: Share) -> ShareKey:
        """One more request. Who comes or comes back starts level with the least served, or owing more."""
        key = (share.tenant, share.run)
        if key not in self._accounts and self._runs[share.tenant] >= MAX_RUNS:
            key = (share.tenant, "")
        if key not in self._accounts:
            served = max(self._idle.pop(key, 0.0), self._least_served())
            self._accounts[key] = Account(share.weight, served)
            self._runs[share.tenant] += 1
        self._accounts[key].requests += 1
        return key

    def leave(self, key: ShareKey) -> bool:
        """One request less; True if it was the share's last."""
        account = self._accounts[key]
        account.requests -= 1
        if account.requests:
            return False
        del self._accounts[key]
        self._idle[key] = account.served
        if not self._accounts:
            self._idle.clear()  # nobody had to wait for it
        self._runs[key[0]] -= 1
        if not self._runs[key[0]]:
            del self._runs[key[0]]
        return True

    def weight(self, key: ShareKey) -> float:
        """A tenant's weight is split over its runs: more labels bring no more of the device."""
        return self._accounts[key].tenant_weight / self._runs[key[0]]

    def served(self, key: ShareKey) -> float:
        return self._accounts[key].served

    def charge(self, served: Mapping[ShareKey, float]) -> None:
        for key, amount in served.items():
            self._accounts[key].served = amount
        least = self._least_served()
        self._idle = {key: owed for key, owed in self._idle.items() if owed > least}

    def _least_served(self) -> float:
        return min((account.served for account in self._accounts.values()), default=0.0)
