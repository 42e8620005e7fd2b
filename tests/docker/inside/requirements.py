"""Runs in the container: what `pip check` does, without pip; prints every requirement that is not met."""

from importlib.metadata import PackageNotFoundError, distributions, version

from packaging.requirements import Requirement


def unmet(text: str) -> bool:
    wanted = Requirement(text)
    if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
        return False
    try:
        return not wanted.specifier.contains(version(wanted.name), prereleases=True)
    except PackageNotFoundError:
        return True


found = list(distributions())
bad = [f"{d.name} needs {r}" for d in found for r in d.requires or () if unmet(r)]
print(len(found), bad)  # noqa: T201
