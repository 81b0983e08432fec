"""Write the JSON schema of Olive configurations from the Olive and transformers that are installed.

Run it with an environment that holds the locked stack::

    CI=1 OLIVE_DISABLE_TELEMETRY=1 ORT_DISABLE_TELEMETRY=1 python tools/generate_olive_schema.py

`--check` writes nothing and exits 1 when the shipped schema differs from what would be written.
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from olive_schema import data, passes, runtime
from olive_schema.convert import Converter

TARGET = Path(__file__).resolve().parents[1] / "scaffolder/catalog/schemas/olive-config.schema.json"


def generate() -> dict[str, Any]:
    """Build the schema of the installed Olive, in a form that is stable from run to run."""
    converter = Converter()
    converter.defs["pass"] = passes.any_pass(converter)
    converter.defs["model"] = runtime.model(converter)
    converter.defs["system"] = runtime.system(converter)
    converter.defs["evaluator"] = runtime.evaluator(converter)
    converter.defs["data"] = data.data_config(converter)
    root = runtime.root(converter)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Olive configuration",
        "x-olive-version": version("olive-ai"),
        "x-transformers-version": version("transformers"),
        **root,
        "allOf": data.defaults_by_task(),
        "$defs": {name: converter.defs[name] for name in sorted(converter.defs)},
    }


def render(schema: dict[str, Any]) -> str:
    """Text of the schema file: one definition a line, so that a diff names what changed."""
    head = {key: value for key, value in schema.items() if key != "$defs"}
    lines = [json.dumps(head, indent=1, ensure_ascii=False)[:-2] + ',\n "$defs": {']
    defs = [f"  {json.dumps(name)}: {json.dumps(part, ensure_ascii=False)}" for name, part in schema["$defs"].items()]
    return "\n".join([*lines, ",\n".join(defs), " }", "}"]) + "\n"


def main() -> int:
    """Write the schema, or compare it with `--check`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--check", action="store_true", help="compare with the shipped schema, write nothing")
    parser.add_argument("--output", type=Path, default=TARGET, help="where to write")
    options = parser.parse_args()
    text = render(generate())
    if options.check:
        same = options.output.is_file() and options.output.read_text(encoding="utf-8") == text
        sys.stderr.write("" if same else f"{options.output} differs from the installed Olive\n")
        return 0 if same else 1
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
