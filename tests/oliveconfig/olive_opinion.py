"""Asks Olive itself about configurations; runs in a process of its own, in a project's folder.

Prints a JSON object: for each file what Olive refused, or said that it ignores.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

GIVEN_BY_OLIVE = ("model_name", "task", "trust_remote_code")


class Listener(logging.Handler):
    """Keeps what Olive warns of."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.said = []

    def emit(self, record):
        """Keep one message."""
        self.said.append(record.getMessage())


def read_text(component):
    """Read the settings of text as Olive does when it prepares the data."""
    from olive.common.config_utils import validate_config
    from olive.data.component.text_generation import TextGenParams

    if component.type == "text_generation_huggingface_pre_process":
        params = {key: value for key, value in component.params.items() if key not in GIVEN_BY_OLIVE}
        validate_config(params, TextGenParams)


def ask(config, listener):
    """Read a configuration as `olive run` does, down to every pass and every text component."""
    from olive.hardware.accelerator import DEFAULT_CPU_ACCELERATOR
    from olive.package_config import OlivePackageConfig
    from olive.workflows.run.config import RunConfig

    listener.said = []
    package = OlivePackageConfig.load_default_config()
    try:
        run = RunConfig.model_validate(config)
        for entries in run.passes.values():
            for entry in entries:
                cls = package.import_pass_module(entry.type)
                made = cls.generate_config(DEFAULT_CPU_ACCELERATOR, entry.config or {}, disable_search=True)
                arguments = getattr(made, "training_args", None)
                if arguments is not None:
                    arguments.model_copy(update={"output_dir": "out"}).create_training_args()
        for data in run.data_configs:
            read_text(data.pre_process_data_config)
    except Exception as error:
        listener.said.append(f"{type(error).__name__}: {error}")
    return listener.said


def main():
    """Ask about every file named on the command line."""
    listener = Listener()
    logger = logging.getLogger("olive")
    logger.addHandler(listener)
    answers = {path: ask(json.loads(Path(path).read_text(encoding="utf-8")), listener) for path in sys.argv[1:]}
    sys.stdout.write("\n" + json.dumps(answers))


if __name__ == "__main__":
    main()
