"""An export with adapters as inputs: each of them is tried, and a broken one keeps it from being published."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

pytestmark = pytest.mark.olive

PRESET = "adapters-int8"
FILE = "adapter_weights.onnx_adapter"


def run(cli, *arguments):
    return cli("run", "gen-model", "--preset", PRESET, *arguments)


@pytest.fixture
def exported(cli, trained):
    """The project with such an export, and its adapter as arrays by name."""
    import onnxruntime as ort

    result = run(cli, "--json")
    assert result.code == 0, result.err
    file = trained / "gen-model" / PRESET / FILE
    adapter = ort.AdapterFormat.read_adapter(str(file))
    # The arrays lie in the adapter's memory.
    return json.loads(result.out)[-1], {name: value.numpy().copy() for name, value in adapter.get_parameters().items()}


def write(parameters, file):
    import onnxruntime as ort

    adapter = ort.AdapterFormat()
    adapter.set_adapter_version(1)
    adapter.set_model_version(1)
    adapter.set_parameters({name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in parameters.items()})
    adapter.export_adapter(str(file))


def verify(folder):
    """Verify a folder as the worker does, and return what it says."""
    program = (
        "import sys; from pathlib import Path; from scaffolder.worker.verify import verify\n"
        "from scaffolder.worker.explain import TaskError\n"
        "try: print(verify(Path(sys.argv[1]), {}, None))\n"
        "except TaskError as error: print(f'{error} ({error.hint})')"
    )
    done = subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_each_adapter_is_tried_and_the_base_scored_without(exported, trained, tmp_path):
    result, parameters = exported
    assert result["metrics"]["adapters"] == ["adapter_weights"]
    assert result["metrics"]["after"]["loss"] < result["metrics"]["before"]["loss"]
    folder = tmp_path / "two"
    shutil.copytree(trained / "gen-model" / PRESET, folder)
    write({name: -array for name, array in parameters.items()}, folder / "other.onnx_adapter")
    assert "'adapters': ['adapter_weights', 'other']" in verify(folder)


BROKEN = {
    "is not a number": (lambda name, array: array * np.float32("nan"), "logits are not finite"),
    "has another shape": (lambda name, array: array[: len(array) // 2] if "lora_A" in name else array, "does not fit"),
    "does nothing": (lambda name, array: array * np.float32(0), "changes nothing"),
}


def test_broken_adapters_are_named(exported, trained, tmp_path):
    _, parameters = exported
    for number, (change, message) in enumerate(BROKEN.values()):
        folder = tmp_path / str(number)
        shutil.copytree(trained / "gen-model" / PRESET, folder)
        write({name: change(name, array) for name, array in parameters.items()}, folder / "broken.onnx_adapter")
        said = verify(folder)
        assert "the adapter broken" in said
        assert message in said
    (folder / "broken.onnx_adapter").write_bytes(b"no adapter")
    assert "the adapter broken.onnx_adapter cannot be read" in verify(folder)


def test_export_with_a_broken_adapter_is_not_published(cli, trained):
    """Weights that are not finite get past the export; the verification is what sees them."""
    from safetensors.torch import load_file, save_file

    path = trained / "fine-tuning" / "adapters" / "lora" / "adapter" / "adapter_model.safetensors"
    weights = load_file(path)
    next(iter(weights.values())).fill_(float("nan"))
    save_file(weights, path, metadata={"format": "pt"})
    manifest = trained / "scaffolder.toml"
    manifest.write_text(manifest.read_text().replace('needs = ["fine-tuning"]', ""))
    result = run(cli)
    assert result.code == 1
    assert "not finite" in result.err
    assert not (trained / "gen-model" / PRESET).exists()
