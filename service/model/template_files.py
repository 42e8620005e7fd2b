"""Where a folder keeps its chat template: up to four files, of which one is used."""

from pathlib import Path
from typing import Any

from service.errors import StartError
from service.model.folder import CONFIG_BYTES, LARGE_BYTES, exists, read_json, read_text

JINJA = "chat_template.jinja"
PROCESSORS = ("chat_template.json", "processor_config.json")  # whose template knows pictures
TOKENIZERS = "tokenizer_config.json"


def read_template(folder: Path) -> tuple[str, str, tuple[str, ...]]:
    """The file that is used, its template, and a warning for each file that states another.

    Raises:
        StartError: there is none, or it is too large.
    """
    found: dict[str, str] = {}
    if exists(folder, JINJA):
        found[JINJA] = read_text(folder, JINJA)
    for name in (*PROCESSORS, TOKENIZERS):
        if exists(folder, name):
            template = default_template(read_json(folder, name, LARGE_BYTES).get("chat_template"))
            if template:
                found[name] = template
            elif name == PROCESSORS[0]:
                raise StartError(f"{name} holds no chat template")
    if not found:
        raise StartError(f"{folder} has no chat template ({JINJA})")
    used = next(iter(found))
    if len(found[used]) > CONFIG_BYTES:
        raise StartError(f"{used}: a chat template of over {CONFIG_BYTES} characters is not served")
    others = [name for name, text in found.items() if text.strip() != found[used].strip()]
    warnings = (f"the chat template of {used} is used; {name} has another" for name in others)
    return used, found[used], tuple(warnings)


def default_template(stated: Any) -> str:
    """The template itself, or the one called default of several; empty where there is none."""
    if isinstance(stated, list):
        stated = {t.get("name"): t.get("template") for t in stated if isinstance(t, dict)}
    if isinstance(stated, dict):
        stated = stated.get("default")
    return stated if isinstance(stated, str) else ""
