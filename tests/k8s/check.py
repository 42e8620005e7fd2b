"""`python -m tests.k8s.check`: renders and judges everything, one line for each overlay and each fault."""

import sys

from tests.k8s import policies, rendering, schemas


def main() -> int:
    bad = 0
    for manifests in rendering.everything():
        found = [*schemas.findings(manifests), *policies.findings(manifests)]
        bad += len(found)
        kinds = len({o["kind"] for o in manifests.objects})
        sys.stdout.write(
            f"{manifests.name}: {len(manifests.objects)} objects of {kinds} kinds,"
            f" {len(policies.POLICIES)} policies, {len(found)} faults\n"
        )
        sys.stdout.writelines(f"  {line}\n" for line in found)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
