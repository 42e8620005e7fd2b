"""`python -m tests.fuzz --inputs 200000 --seed 7`: the embedded demo server, started here, and asked everything."""

import argparse
import random
import sys

from tests.fuzz.campaign import Campaign
from tests.fuzz.document import hold_against
from tests.live.conftest import serving


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--connections", type=int, default=4)
    chosen = parser.parse_args()
    sys.stdout.write(f"seed {chosen.seed}\n")
    with serving("--access-log-sample", "0") as server:
        url = server.ready().url
        found = Campaign(url, chosen.seed, chosen.inputs, chosen.connections).run()
        document = hold_against(url, chosen.seed, chosen.inputs // 200)
        alive = server.process.poll() is None
    sys.stdout.write("\n".join(found.lines()) + "\n")
    for number, sent, what in found.bad[:20]:
        sys.stdout.write(f"input {number}: {what}: {sent.path} {sent.body[:300]!r}\n")
    sys.stdout.write(document.stdout)
    if not alive:
        sys.stdout.write("the server has ended\n")
    good = not found.bad and found.scored_share >= 0.3 and document.returncode == 0
    return 0 if alive and good else 1


if __name__ == "__main__":
    sys.exit(main())
