"""Blue-green: a fingerprint leads to the colour that serves it, everything else to the active one."""

import re
from collections.abc import Iterator
from typing import Any

from tests.k8s.manifests import Manifests, Object, pod_labels, title
from tests.k8s.policies.server import settings_of

HEADER, PARAMETER = "X-Expect-Fingerprint", "expect_fingerprint"
LABEL = "reward-colour"


def _colours(manifests: Manifests) -> list[Object]:
    return [w for w in manifests.servers() if LABEL in pod_labels(w)]


def fingerprints_lead_to_their_colour(manifests: Manifests) -> Iterator[str]:
    """Header and parameter of a rule name one fingerprint, no two rules the same, and the last rule takes the rest."""
    if not _colours(manifests):
        return
    for route in manifests.of("HTTPRoute"):
        *pinned, rest = route["spec"]["rules"]
        named = [_fingerprints(rule) for rule in pinned]
        for prints in named:
            if len(prints) != 1 or not re.fullmatch(r"sha256:[0-9a-f]{64}", min(prints)):
                yield f"{title(route)}: a rule must match one fingerprint, by header and parameter, exactly"
        if len(set().union(*named)) != len(named):
            yield f"{title(route)}: two colours have the same fingerprint"
        if "matches" in rest:
            yield f"{title(route)}: requests without a fingerprint lead nowhere"
        backends = {b["name"] for rule in pinned for b in rule["backendRefs"]}
        if (
            len(backends) != len(_colours(manifests))
            or rest["backendRefs"][0]["name"] not in backends
        ):
            yield f"{title(route)}: each colour needs its rule, and the active one must be one of them"


def _fingerprints(rule: Any) -> set[str]:
    """Of a rule's matches, the encoded colon undone; an empty one where a way to pin is missing."""
    found, ways = set(), set()
    for match in rule.get("matches", []):
        for kind, name in (("headers", HEADER), ("queryParams", PARAMETER)):
            for part in match.get(kind, []):
                if part["name"] == name and part.get("type", "Exact") == "Exact":
                    ways.add((kind, "%3A" in part["value"]))
                    found.add(part["value"].replace("%3A", ":"))
    complete = {("headers", False), ("queryParams", False), ("queryParams", True)}
    return found if ways == complete else found | {""}


def colours_are_apart(manifests: Manifests) -> Iterator[str]:
    colours = _colours(manifests)
    names = [settings_of(manifests, w).model_name for w in colours]
    if len(set(names)) != len(names):
        yield "colours must differ in BASEREWARD_MODEL_NAME, or MixedFingerprints is alerted"
    for workload in colours:
        if LABEL not in workload["spec"]["selector"]["matchLabels"]:
            yield f"{title(workload)}: its selector takes the other colour's pods too"
    claims = [v for w in colours for v in re.findall(r"'claimName': '([^']+)'", str(w))]
    if len(set(claims)) != len(claims):
        yield "colours must not share their weights"


POLICIES = (fingerprints_lead_to_their_colour, colours_are_apart)
