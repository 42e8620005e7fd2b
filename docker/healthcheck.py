"""What `HEALTHCHECK` runs inside the container: exit code 0 when the server is ready, else 1 and why."""

import http.client
import os
import sys

TIMEOUT_S = 4


def main() -> int:
    port = os.environ.get("BASEREWARD_OPS_PORT") or os.environ.get("BASEREWARD_PORT") or "8000"
    try:
        # Not urllib.request: it would ask a proxy from the environment.
        probe = http.client.HTTPConnection("127.0.0.1", int(port), timeout=TIMEOUT_S)
        probe.request("GET", "/readyz")
        answer = probe.getresponse()
        said = answer.read(200).decode(errors="replace").strip()
    except (OSError, ValueError, http.client.HTTPException) as error:
        sys.stdout.write(f"no answer on port {port}: {error}\n")
        return 1
    sys.stdout.write(f"{answer.status} {said}\n")
    return 0 if answer.status == http.client.OK else 1


if __name__ == "__main__":
    sys.exit(main())
