"""docs/checkpoints.md states every manifest key with its default, every recipe, and refusals as the code words them."""

import ast
import re

import pytest

from service.errors import StartError
from service.model.manifest import (
    FILE_NAME,
    RECIPES,
    Golden,
    HeadRules,
    Manifest,
    PixelRules,
    ScoreRules,
    TemplateRules,
    read,
)
from tests.promises.markdown import page, spans, table
from tests.promises.source import files, parsed

PAGE = page("docs/checkpoints.md")
KEYS = {row[0]: row[1] for row in table(PAGE, "key", "default", "meaning")}
PARTS = {
    "head": HeadRules,
    "template": TemplateRules,
    "pixels": PixelRules,
    "score": ScoreRules,
}
REFUSALS = [spans(row[0])[0] for row in table(PAGE, "line", "mend")]


def documented_keys() -> set[str]:
    """`score.scale`, `.offset` in one cell are score.scale and score.offset."""
    found = set()
    for cell in KEYS:
        part = ""
        for name in spans(cell):
            part = part if name.startswith(".") else name.partition(".")[0]
            found.add(part + name if name.startswith(".") else name)
    return found


def real_keys() -> set[str]:
    return {
        f"{name}.{inner}" if inner else name
        for name in Manifest.model_fields
        for inner in (PARTS[name].model_fields if name in PARTS else [""])
    }


def messages() -> list[list[str]]:
    """Every string of the model room that has words of its own, as regex parts: f-string fields match anything."""
    found = []
    for path in files("service/model"):
        for node in ast.walk(parsed(path)):
            values = node.values if isinstance(node, ast.JoinedStr) else [node]
            own = [v.value for v in values if isinstance(v, ast.Constant)]
            if own and all(isinstance(text, str) for text in own) and len("".join(own)) > 15:
                parts = [
                    re.escape(v.value) if isinstance(v, ast.Constant) else ".+" for v in values
                ]
                found.append(parts)
    return found


def worded_so(line: str, parts: list[str]) -> bool:
    """The whole line; one that ends in … is the message up to there."""
    if not line.endswith("…"):
        return re.fullmatch("".join(parts), line) is not None
    start = line.removesuffix("…")
    return any(re.fullmatch("".join(parts[:n]), start) for n in range(2, len(parts) + 1))


def test_manifest_keys():
    assert documented_keys() == real_keys()


@pytest.mark.parametrize(
    ("cell", "defaults"),
    [
        ("`pixels.min`, `pixels.max`", [PixelRules().min, PixelRules().max]),
        ("`max_tokens`", [Manifest.model_fields["max_tokens"].default]),
        ("`score.scale`, `.offset`, `.mean`, `.std`", ScoreRules().model_dump().values()),
        ("`scoring`", [Manifest.model_fields["scoring"].default]),
        ("`template.system`", [TemplateRules().system]),
        ("`template.image_position`", [TemplateRules().image_position]),
        ("`pixels.apply_exif`", ["true" if PixelRules().apply_exif else "false"]),
    ],
)
def test_manifest_defaults(cell, defaults):
    written = [f"{d:g}" if isinstance(d, float) else str(d) for d in defaults]
    assert KEYS[cell].replace("`", "").split(", ") == written


def test_golden_keys():
    row = next(r for r in table(PAGE, "key", "default", "meaning") if r[0] == "`golden`")
    assert set(re.findall(r'"(\w+)"', row[2])) == set(Golden.model_fields)


def test_recipes():
    rows = table(PAGE, "recipe", "head.prefix", "activation", "pool")
    documented = {
        recipe.strip("`"): (spans(prefix)[0], activation, spans(pool)[0])
        for recipe, prefix, activation, pool in rows
    }
    assert documented == {
        name: (m.head.prefix, m.head.activation, m.pool) for name, m in RECIPES.items()
    }


def test_refusals_were_found():
    assert len(REFUSALS) > 15


@pytest.mark.parametrize("line", [r for r in REFUSALS if not r.startswith(FILE_NAME)])
def test_refusal_is_worded_as_in_the_code(line):
    assert any(worded_so(line, parts) for parts in messages())


def test_the_first_fault_of_a_manifest_is_named(tmp_path):
    (line,) = (r for r in REFUSALS if r.startswith(FILE_NAME))
    (tmp_path / FILE_NAME).write_text(
        '{"head": {"prefix": "score", "activation": "silu"}}', "utf-8"
    )
    with pytest.raises(StartError, match=f"^{re.escape(line)}$"):
        read(tmp_path)
