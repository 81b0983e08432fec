"""Build hook: puts the template's bundle into wheels and source distributions."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

INSIDE = "scaffolder/_template.bundle"


class BundleHook(BuildHookInterface):  # type: ignore[misc]
    """Makes the bundle from the checkout; a source distribution has it already."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the bundle to what is packed."""
        root = Path(self.root)
        if version == "editable" or (root / INSIDE).is_file():
            return
        sys.path.insert(0, str(root))
        from scaffolder.templating.bundle import make_bundle

        # Deleted when this process ends, after everything is packed.
        self._folder = tempfile.TemporaryDirectory()
        made = Path(self._folder.name) / "template.bundle"
        make_bundle(root, made)
        build_data["force_include"][str(made)] = INSIDE
