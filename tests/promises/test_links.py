"""Every link, make target and command line in the docs leads somewhere."""

import argparse
import re
import shlex

import pytest

from service.__main__ import _parser
from tests.promises.markdown import PAGES, ROOT, fences, spans, without_fences

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_SHELLS = ("bash", "sh", "shell", "console")
_ENDS_COMMAND = {"|", "||", "&", "&&", ";", ">", ">>", "<", "2>"}


def texts():
    return [(str(path.relative_to(ROOT)), path.read_text("utf-8")) for path in PAGES]


def shell_lines(text):
    blocks = (block for info in _SHELLS for block in fences(text, info))
    return [
        line.strip().removeprefix("$ ")
        for block in blocks
        for line in block.replace("\\\n", " ").splitlines()
    ]


def links():
    return [
        (name, target)
        for name, text in texts()
        for target in _LINK.findall(without_fences(text))
        if not re.match(r"[a-z]+:", target)
    ]


def make_targets():
    """`make setup TORCH_INDEX=…`: the lower-case words up to a comment; variables are not targets."""
    said = [(name, w) for name, text in texts() for w in (*shell_lines(text), *spans(text))]
    return sorted(
        {
            (name, word)
            for name, line in said
            if line.startswith("make ")
            for word in line.partition("#")[0].split()[1:]
            if re.fullmatch(r"[a-z][\w-]*", word)
        }
    )


def command_lines():
    """Argument lists of the `basereward` commands in shell blocks, without variables before and pipes after."""
    found = []
    for name, text in texts():
        for line in shell_lines(text):
            words = shlex.split(line, comments=True)
            while words and re.match(r"[A-Z_]+=", words[0]):
                words.pop(0)
            if words[:1] == ["basereward"]:
                stop = next((i for i, w in enumerate(words) if w in _ENDS_COMMAND), len(words))
                found.append((name, words[1:stop]))
    return found


def spoken_commands():
    """`basereward checkpoint init | inspect` in running text: every command it speaks of."""
    return sorted(
        {
            (name, span.removeprefix("basereward "))
            for name, text in texts()
            for span in spans(text)
            if re.match(r"basereward [a-z]", span)
        }
    )


def anchors(text):
    """Headings as GitHub makes anchors of them."""
    headings = re.findall(r"^#+ (.+)$", without_fences(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def choices(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    subparsers = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return next((dict(a.choices) for a in subparsers), {})


@pytest.mark.parametrize(("name", "target"), links())
def test_link_resolves(name, target):
    file, _, anchor = target.partition("#")
    path = (ROOT / name).parent / file if file else ROOT / name
    assert path.exists()
    if anchor:
        assert anchor in anchors(path.read_text("utf-8"))


@pytest.mark.parametrize(("name", "target"), make_targets())
def test_make_target_exists(name, target):
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE)


@pytest.mark.parametrize(("name", "arguments"), command_lines())
def test_command_line_parses(name, arguments):
    chosen = _parser().parse_args(arguments)
    assert callable(chosen.run)


@pytest.mark.parametrize(("name", "spoken"), spoken_commands())
def test_spoken_command_exists(name, spoken):
    parser = _parser()
    for word in re.findall(r"[a-z]+(?:\s*\|\s*[a-z]+)*", re.split(r"[^a-z| ]", spoken)[0].strip()):
        options = re.split(r"\s*\|\s*", word)
        known = choices(parser)
        if not known:
            break
        assert set(options) <= set(known)
        parser = known[options[-1]]


def test_something_was_found():
    assert len(links()) > 8
    assert len(make_targets()) > 5
    assert len(command_lines()) > 6
    assert len(spoken_commands()) > 4
