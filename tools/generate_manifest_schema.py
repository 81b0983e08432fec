"""Write the JSON schema of `scaffolder.toml` from the model that reads it.

Run it after a change of `scaffolder/project.py`::

    python tools/generate_manifest_schema.py

`--check` writes nothing and exits 1 when the shipped schema differs from what would be written.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "scaffolder/catalog/schemas/scaffolder.schema.json"


def render() -> str:
    """Text of the schema file."""
    from pydantic.json_schema import GenerateJsonSchema

    from scaffolder.project import Manifest

    class WithoutFieldTitles(GenerateJsonSchema):
        """A field's title would repeat its key in the editor."""

        def field_title_should_be_set(self, _schema: object) -> bool:
            return False

    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Manifest.model_json_schema(schema_generator=WithoutFieldTitles),
        "title": "scaffolder.toml",
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def main() -> int:
    """Write the schema, or compare it with `--check`."""
    parser = argparse.ArgumentParser(description="Write the JSON schema of scaffolder.toml.")
    parser.add_argument("--check", action="store_true", help="compare with the shipped schema, write nothing")
    if not parser.parse_args().check:
        TARGET.write_text(render(), encoding="utf-8")
        return 0
    if TARGET.is_file() and TARGET.read_text(encoding="utf-8") == render():
        return 0
    print(f"{TARGET.relative_to(ROOT)} is not up to date; run tools/generate_manifest_schema.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
