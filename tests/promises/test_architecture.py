"""docs/architecture.md is true to the code, and the code keeps the house rules that a linter cannot hold."""

import ast
import re
import statistics
import sys
import tomllib

import pytest

from tests.promises.markdown import ROOT, fences, page, spans, table
from tests.promises.source import files, functions, imports, length, names, parsed

PAGE = page("docs/architecture.md")
LAYERS = tomllib.loads(page("pyproject.toml"))["tool"]["importlinter"]["contracts"][0]["layers"]
SERVICE = files("service")
OURS = files("service", "training", "client", "examples")
MAX_FILE_LINES = 250
MAX_FUNCTION_LINES = 40
MEDIAN_FUNCTION_LINES = 8
VAGUE = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "misc"}

PATHS = sorted({s for s in spans(PAGE) if re.fullmatch(r"[\w/]+/(\w+\.py)?|\w+\.toml", s)})
CALLS = sorted({s[:-2] for s in spans(PAGE) if re.fullmatch(r"[\w.]+\(\)", s)})
CLASSES = sorted({s for s in spans(PAGE) if re.fullmatch(r"[A-Z][a-z]+\w*", s)})


def relative(path):
    return str(path.relative_to(ROOT))


def test_layers_are_the_linters():
    (block,) = fences(PAGE, "text layers")
    assert block.splitlines() == LAYERS


def test_every_room_has_a_row():
    rooms = {p.stem if p.is_file() else p.name for p in (ROOT / "service").iterdir()}
    rooms -= {"__init__", "__pycache__"}
    rows = [row[0].strip("`").rstrip("/") for row in table(PAGE, "room", "what lives there")]
    assert {row.removeprefix("service/").removesuffix(".py") for row in rows} == rooms


def test_the_page_names_code():
    assert len(PATHS) > 20
    assert len(CALLS) > 20
    assert len(CLASSES) > 5


@pytest.mark.parametrize("path", PATHS)
def test_named_path_exists(path):
    assert (ROOT / path).exists()


@pytest.mark.parametrize("name", CALLS)
def test_named_function_exists(name):
    assert name in names("service")


@pytest.mark.parametrize("name", CLASSES)
def test_named_class_exists(name):
    assert name in names("service")


def test_rooms_on_one_level_do_not_import_each_other():
    level = {room: row for row in LAYERS for room in re.split(r"\s*[:|]\s*", row)}
    sideways = [
        (relative(path), module)
        for path in SERVICE
        for _, module in imports(path)
        if module.startswith("service.")
        for here in [path.relative_to(ROOT / "service").parts[0].removesuffix(".py")]
        for there in [module.split(".")[1]]
        if here != there and here in level and level[here] == level.get(there)
    ]
    assert sideways == []


@pytest.mark.parametrize("path", OURS, ids=relative)
class TestFile:
    def test_is_short(self, path):
        assert len(path.read_text("utf-8").splitlines()) <= MAX_FILE_LINES

    def test_opens_with_a_sentence(self, path):
        assert ast.get_docstring(parsed(path))

    def test_imports_are_absolute(self, path):
        assert [module for level, module in imports(path) if level] == []

    def test_name_is_a_noun_of_its_own(self, path):
        name = path.parent.name if path.stem == "__init__" else path.stem
        assert name not in sys.stdlib_module_names
        assert name not in VAGUE


@pytest.mark.parametrize("path", SERVICE, ids=relative)
def test_functions_fit_on_a_screen(path):
    assert [f.name for f in functions(path) if length(f) > MAX_FUNCTION_LINES] == []


def test_functions_are_short():
    lengths = [length(f) for path in SERVICE for f in functions(path)]
    assert len(lengths) > 200
    assert statistics.median(lengths) <= MEDIAN_FUNCTION_LINES


def test_only_settings_reads_the_environment():
    wanted = {"environ", "environb", "getenv", "os.environ", "os.environb", "os.getenv"}
    readers = {
        relative(path)
        for path in SERVICE
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Attribute) and node.attr in wanted
    }
    importers = {relative(path) for path in SERVICE for _, name in imports(path) if name in wanted}
    assert readers | importers == {"service/sources.py"}
