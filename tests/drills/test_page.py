"""docs/drills.md names every drill that there is, and no other."""

import ast
from pathlib import Path

from tests.promises.markdown import page, spans, table

HERE = Path(__file__).parent


def _drills() -> set[str]:
    return {
        node.name
        for file in HERE.glob("test_*.py")
        if file.name != Path(__file__).name
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name[:5] == "test_"
    }


def test_the_page_names_every_drill():
    text = page("docs/drills.md")
    asked = {name for row in table(text, "drill", "what is asked") for name in spans(row[0])}
    measured = {name for row in table(text, "drill", "figures") for name in spans(row[0])}
    assert asked == measured == _drills()
