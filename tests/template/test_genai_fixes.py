"""The builder of onnxruntime-genai 0.15, as Olive 0.13 calls it."""

import importlib.util
from types import SimpleNamespace

import pytest

from tests.conftest import REPOSITORY

pytestmark = pytest.mark.olive
CALL = {
    "model_name": "folder",
    "input_path": "folder",
    "output_dir": "out",
    "precision": "int4",
    "execution_provider": "cuda",
    "cache_dir": "cache",
}


@pytest.fixture
def fixes():
    path = REPOSITORY / "template/gen-model/genai_fixes.py"
    spec = importlib.util.spec_from_file_location("genai_fixes_under_test", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def newer_builder(calls):
    """What 0.15 changed: `create_model` wants `hf_details`, and the quantised product has another name."""

    class Model:
        def make_matmul_nbits(self):
            return "product"

    def create_model(
        model_name, input_path, output_dir, precision, execution_provider, cache_dir, *, hf_details, **options
    ):
        calls.append((model_name, hf_details, options))

    def get_hf_details(model_name, input_path, cache_dir, extra_options):
        return {"hf_name": input_path, "seen": sorted(extra_options)}

    return SimpleNamespace(Model=Model, create_model=create_model, get_hf_details=get_hf_details)


def test_the_newer_builder_gets_what_it_asks_for(fixes):
    calls = []
    builder = newer_builder(calls)
    fixes._mend_call(builder)
    mended = builder.create_model
    fixes._mend_call(builder)
    assert builder.create_model is mended
    builder.create_model(**CALL, lora="x")
    assert calls == [("folder", {"hf_name": "folder", "seen": ["execution_provider", "lora", "output_dir", "precision"]}, {"lora": "x"})]  # fmt: skip
    assert builder.Model().make_matmul_int4() == "product"


def test_the_older_builder_stays_as_it_is(fixes):
    builder = SimpleNamespace(create_model=print)
    fixes._mend_call(builder)
    assert vars(builder) == {"create_model": print}
