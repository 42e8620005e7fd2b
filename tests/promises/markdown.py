"""The docs as tests read them: pages, tables, fenced blocks, code spans; no Markdown beyond that."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])

_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")


def page(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def fences(text: str, info: str) -> list[str]:
    """The fenced blocks whose info string is exactly `info`."""
    return [body for found, body in _FENCE.findall(text) if found.strip() == info]


def without_fences(text: str) -> str:
    return _FENCE.sub("", text)


def spans(text: str) -> list[str]:
    """The code spans of running text and table cells."""
    return _SPAN.findall(without_fences(text))


def table(text: str, *header: str) -> list[list[str]]:
    """The body rows of every table with this header, cells stripped."""
    rows: list[list[str]] = []
    inside = False
    for line in without_fences(text).splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            inside = False
        elif cells == list(header):
            inside = True
        elif inside and set("".join(cells)) - set("-: "):
            rows.append(cells)
    return rows
