"""docs/trainers.md shows the example files as they are, has a section for every adapter, and links to each.

`python -m tests.promises.test_trainers_documented` writes the files into the page.
"""

import ast
import re

import pytest

from tests.promises.markdown import ROOT, page

PATH = ROOT / "docs" / "trainers.md"
PAGE = page("docs/trainers.md")
EXAMPLES = ROOT / "examples" / "trainers"
ADAPTERS = ROOT / "client" / "basereward_client" / "adapters"
SHARED = {"__init__", "scoring", "texts"}
_SHOWN = re.compile(r"^```(\w+) (examples/\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN = [(path, block) for _, path, block in _SHOWN.findall(PAGE)]


def shown(path: str) -> str:
    """The file without its opening docstring: the page says that itself."""
    text = (ROOT / path).read_text("utf-8")
    if path.endswith(".py"):
        first = ast.parse(text).body[0]
        text = "".join(text.splitlines(keepends=True)[first.end_lineno :])
    return text.strip("\n") + "\n"


@pytest.mark.parametrize(("path", "block"), SHOWN, ids=[path for path, _ in SHOWN])
def test_example_is_the_file(path, block):
    assert block == shown(path), "python -m tests.promises.test_trainers_documented"


def test_every_example_is_shown():
    files = {str(p.relative_to(ROOT)) for p in EXAMPLES.iterdir() if p.suffix in (".py", ".yaml")}
    assert {path for path, _ in SHOWN} == files - {"examples/trainers/__init__.py"}


def test_every_adapter_is_used_by_an_example():
    adapters = {path.stem for path in ADAPTERS.glob("*.py")} - SHARED
    blocks = "\n".join(block for _, block in SHOWN)
    used = set(re.findall(r"basereward_client\.adapters[. ](?:import )?(\w+)", blocks))
    assert used == adapters


if __name__ == "__main__":
    PATH.write_text(_SHOWN.sub(lambda m: f"```{m[1]} {m[2]}\n{shown(m[2])}```", PAGE), "utf-8")
