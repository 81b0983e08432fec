"""A training step that does not fit the memory is done in smaller passes, with the same result."""

import os
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY
from tests.tiny_models import make_tiny_model

pytestmark = [pytest.mark.olive, pytest.mark.skipif(sys.platform != "linux", reason="limits a process's addresses")]
RUN = REPOSITORY / "tests" / "stepdown_run.py"


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    """Train with so many bytes of room (0: no limit); return the trained weights and what was told."""
    folder = tmp_path_factory.mktemp("stepdown")
    model = make_tiny_model("llama", folder / "model")

    def run(room, kind):
        from safetensors.torch import load_file

        output = folder / f"{kind}-{room}"
        done = subprocess.run(
            [sys.executable, RUN, model, str(room), kind, output],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
        assert done.returncode == 0, done.stderr[-2000:]
        told = [line.partition(": ")[2] for line in done.stdout.splitlines() if "did not fit" in line]
        return load_file(output / "adapter.safetensors"), told

    return run


@pytest.mark.parametrize("kind", ["sum", "mean"])
def test_steps_in_smaller_passes_give_the_same_weights(train, kind):
    plain, told = train(0, kind)
    assert told == []
    small, told = train(25_000_000, kind)
    assert told[0] == "its 8 rows go through the model in 2 passes from here; the result is the same"
    assert told[1] == "activations are computed again from here instead of kept; the result is the same"
    assert max((small[name] - weight).abs().max().item() for name, weight in plain.items()) < 1e-7
    assert max(weight.abs().max().item() for weight in plain.values()) > 0.01
