"""Run by path, in a process of its own: renders conversations as transformers does, within limits of time and memory.

It imports Jinja alone: transformers would take seconds.
"""

import json
import resource
import sys
from typing import Any

OUT_OF_MEMORY = 3  # exit codes
TOO_MUCH = 4


def main() -> int:
    task = json.load(sys.stdin)
    sys.path[:] = task["path"]
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    limits = (
        (resource.RLIMIT_CPU, task["cpu_s"]),
        (resource.RLIMIT_AS, task["memory_bytes"]),
        (resource.RLIMIT_CORE, 0),
    )
    for kind, limit in limits:
        resource.setrlimit(kind, (limit, resource.getrlimit(kind)[1]))
    environment = _environment(ImmutableSandboxedEnvironment)
    try:
        template = environment.from_string(task["source"])
    except MemoryError:
        return OUT_OF_MEMORY
    except Exception:  # noqa: BLE001 - what is wrong with it is said where it is rendered
        return 0
    for messages in task["conversations"]:
        code = _render(template, messages, task["output_chars"])
        if code:
            return code
    return 0


def _render(template: Any, messages: Any, most: int) -> int:
    written = 0
    try:
        for piece in template.generate(messages=messages, add_generation_prompt=False):
            written += len(piece)
            if written > most:
                return TOO_MUCH
    except MemoryError:
        return OUT_OF_MEMORY
    except Exception:  # noqa: BLE001 - a template that raises has ended
        return 0
    return 0


def _environment(sandbox: Any) -> Any:
    """As `_compile_jinja_template` of transformers makes it."""
    from jinja2 import nodes
    from jinja2.ext import Extension

    class Generation(Extension):
        tags = {"generation"}  # noqa: RUF012 - Jinja's own form

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
            return nodes.Scope(body).set_lineno(line)

    environment = sandbox(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = lambda value, **_: json.dumps(value, ensure_ascii=False)
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda _: "2000-01-01"
    return environment


def _refuse(message: object) -> None:
    raise ValueError(message)


if __name__ == "__main__":
    sys.exit(main())
