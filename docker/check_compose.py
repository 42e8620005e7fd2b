"""Holds docker/compose.yaml to the Compose specification, misspelt keys included; build.py runs it with its tools."""

import json
import re
from pathlib import Path

import compose_spec
import yaml


def main() -> None:
    text = Path(__file__).with_name("compose.yaml").read_text("utf-8")
    filled = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)  # the reader knows no variables
    composed = compose_spec.PyCompose.from_json(json.dumps(yaml.safe_load(filled)))
    composed.validate()
    composed.to_spec()


if __name__ == "__main__":
    main()
