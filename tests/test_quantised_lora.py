"""The generated project's training over weights that Olive quantised: plain layers with the same values."""

import importlib.util

import pytest

from tests.conftest import REPOSITORY
from tests.tiny_models import make_tiny_model

pytestmark = [pytest.mark.olive, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def script():
    """The script, imported as Olive imports it, twice; what it does to Olive is taken back."""
    from olive.common.quant.hf_utils import OliveHfQuantizer

    before = OliveHfQuantizer._process_model_after_weight_loading
    path = REPOSITORY / "template/fine-tuning/quantised_lora.py"
    spec = importlib.util.spec_from_file_location("quantised_lora", path)
    for _ in range(2):
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    yield module
    OliveHfQuantizer._process_model_after_weight_loading = before


@pytest.fixture
def quantised(tmp_path):
    """A folder with a small model whose layers have four bits."""
    import torch
    from olive.common.quant.hf_utils import OliveHfQuantizationConfig, replace_matching_submodules
    from olive.common.quant.nn import QuantLinear
    from transformers import AutoModelForCausalLM

    make_tiny_model("qwen2", tmp_path / "plain")  # its layers for queries, keys and values have biases
    settings = {"bits": 4, "symmetric": False, "group_size": 16}
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "plain", dtype=torch.float32)
    head = model.get_output_embeddings()
    replace_matching_submodules(
        model,
        lambda layer, _: isinstance(layer, torch.nn.Linear) and layer is not head,
        lambda layer, _: QuantLinear.from_module(layer, **settings),
    )
    model.config.quantization_config = OliveHfQuantizationConfig(**settings)
    model.save_pretrained(tmp_path / "quantised")
    return tmp_path / "quantised"


def load(folder):
    from olive.common.quant.hf_utils import OliveHfQuantizationConfig, OliveHfQuantizer
    from transformers import AutoModelForCausalLM
    from transformers.quantizers import auto

    auto.AUTO_QUANTIZATION_CONFIG_MAPPING["olive"] = OliveHfQuantizationConfig
    auto.AUTO_QUANTIZER_MAPPING["olive"] = OliveHfQuantizer
    return AutoModelForCausalLM.from_pretrained(folder)


def test_base_is_dequantised_once_and_answers_the_same(quantised, request):
    import torch
    from olive.common.quant.nn import QuantLinear
    from peft import LoraConfig, get_peft_model
    from peft.tuners.lora.layer import Linear

    ids = torch.arange(24).reshape(2, 12)
    expected = load(quantised)
    assert any(isinstance(layer, QuantLinear) for layer in expected.modules())
    request.getfixturevalue("script")
    model = load(quantised)
    assert not any(isinstance(layer, QuantLinear) for layer in model.modules())
    assert not model.is_quantized
    with torch.no_grad():
        assert torch.equal(model(ids).logits, expected(ids).logits)
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM"))
    assert isinstance(adapted.get_submodule("base_model.model.model.layers.0.mlp.down_proj"), Linear)
    adapted(ids, labels=ids).loss.backward()
    trained = {name.split(".")[-3] for name, weight in adapted.named_parameters() if weight.grad is not None}
    assert trained == {"lora_A", "lora_B"}


def test_a_quantised_base_is_measured_as_it_is_with_an_adapter_and_alone(quantised, tmp_path):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from scaffolder.worker.models import Sample
    from scaffolder.worker.torch_model import TorchModel

    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "plain")
    settings = LoraConfig(r=4, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM")
    get_peft_model(plain, settings).save_pretrained(tmp_path / "adapter")  # untrained, so that it does nothing
    samples = [Sample(list(range(4, 40)), 3)]
    base = TorchModel({"kind": "base", "path": str(quantised)})
    adapted = TorchModel({"kind": "adapter", "path": str(quantised), "adapter": str(tmp_path / "adapter")})
    other = TorchModel({"kind": "base", "path": str(tmp_path / "plain")})
    with torch.no_grad():
        expected = load(quantised)(torch.tensor([samples[0].ids])).logits[0, 2:-1]  # by the quantised layers themselves
    for model in (base, adapted):
        assert torch.allclose(next(iter(model.response_logits(samples))), expected, atol=1e-4)
    assert not torch.allclose(next(iter(other.response_logits(samples))), expected, atol=1e-2)
