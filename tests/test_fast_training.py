"""The generated project's faster training: less computing, the same results."""

import importlib.util
import sys

import pytest

from tests.conftest import REPOSITORY
from tests.tiny_models import make_tiny_model

pytestmark = [pytest.mark.olive, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def fast():
    """The script, imported as Olive imports it; its callback is taken out again."""
    import transformers.trainer

    before = list(transformers.trainer.DEFAULT_CALLBACKS)
    spec = importlib.util.spec_from_file_location("fast_training", REPOSITORY / "template/fine-tuning/fast_training.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["fast_training"] = module
    spec.loader.exec_module(module)
    assert [callback.__name__ for callback in transformers.trainer.DEFAULT_CALLBACKS][-1] == "FastTraining"
    yield module
    transformers.trainer.DEFAULT_CALLBACKS[:] = before


def load(folder, dtype="bfloat16", device="cpu"):
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).to(device)


def adapted(model, **options):
    import torch
    from peft import LoraConfig, get_peft_model

    settings = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", **options)
    tuned = get_peft_model(model, settings)
    torch.manual_seed(1)
    for name, weight in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
    return tuned


def test_adapters_give_the_same_and_keep_their_precision(fast, tmp_path):
    import torch

    model = adapted(load(make_tiny_model("llama-chatml", tmp_path / "model")))
    ids = torch.arange(40).reshape(2, 20)
    before, names = model(ids).logits, list(model.state_dict())
    fast.multiply_in_model_format(model)
    assert any(isinstance(module, fast.Adding) for module in model.modules())
    after = model(ids).logits
    assert list(model.state_dict()) == names
    exact = adapted(load(tmp_path / "model", "float32"))(ids).logits
    # In 16 bits both differ from the exact result, and by as much.
    assert (after - exact).abs().mean() < 1.2 * (before - exact).abs().mean()
    after.float().sum().backward()
    weights = [weight for name, weight in model.named_parameters() if "lora_" in name]
    assert {weight.dtype for weight in weights} == {weight.grad.dtype for weight in weights} == {torch.float32}


def results(model, ids, **others):
    """A model's logits and the gradients of its adapters."""
    model.zero_grad()
    found = model(ids, labels=ids, **others)
    found.loss.backward()
    return [found.logits.detach(), *(weight.grad.clone() for weight in model.parameters() if weight.grad is not None)]


@pytest.mark.parametrize("bias", [False, True])
def test_adapters_products_are_added_exactly(bias, fast, tmp_path):
    import torch

    model = load(make_tiny_model("qwen3", tmp_path / "model"), "float32")
    if bias:
        for block in model.model.layers:
            block.self_attn.q_proj.bias = torch.nn.Parameter(torch.ones(block.self_attn.q_proj.out_features))
    model = adapted(model)
    ids = torch.arange(40).reshape(2, 20)
    before = results(model, ids)
    fast.multiply_in_model_format(model)
    assert any(isinstance(module, fast.Adding) for module in model.modules())
    for found, expected in zip(results(model, ids), before, strict=True):
        assert torch.allclose(found, expected, atol=1e-5)
    with model.disable_adapter():
        plain = model(ids).logits
    merged = model.merge_and_unload()
    assert torch.allclose(merged(ids).logits, before[0], atol=1e-4)
    assert not torch.allclose(plain, before[0], atol=1e-2)


@pytest.mark.parametrize("options", [{"lora_dropout": 0.1}, {"use_dora": True}, {"lora_bias": True}])
def test_only_plain_adapters_are_added_in_place(options, fast, tmp_path):
    model = adapted(load(make_tiny_model("llama-chatml", tmp_path / "model")), **options)
    fast.multiply_in_model_format(model)
    assert not any(isinstance(module, fast.Adding) for module in model.modules())


def test_phi3_computes_the_same_with_its_layers_replaced(fast, tmp_path):
    import torch

    model = adapted(load(make_tiny_model("phi3", tmp_path / "model"), "float32"))
    ids = torch.arange(5, 45).reshape(2, 20)
    before, written = results(model, ids), model.generate(ids[:1], max_new_tokens=4)
    fast.speed_up_phi3(model)
    assert any(type(module) is fast.CutAtOnceAttention for module in model.modules())
    for found, expected in zip(results(model, ids), before, strict=True):
        assert torch.allclose(found, expected, atol=1e-6)
    assert torch.equal(model.generate(ids[:1], max_new_tokens=4), written)


@pytest.mark.gpu
def test_adapters_over_four_bits_are_added_exactly_on_a_card(fast, tmp_path):
    pytest.importorskip("bitsandbytes")
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    folder = make_tiny_model("llama-chatml", tmp_path / "model")
    bits = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=torch.float32)
    model = adapted(AutoModelForCausalLM.from_pretrained(folder, quantization_config=bits, dtype=torch.float32))
    ids = torch.arange(40, device=model.device).reshape(2, 20)
    before = results(model, ids)
    fast.multiply_in_model_format(model)
    assert any(isinstance(module, fast.Adding) for module in model.modules())
    for found, expected in zip(results(model, ids), before, strict=True):
        assert torch.allclose(found, expected, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_gated_product_is_exact_on_a_card(dtype, fast):
    import torch

    both = torch.randn(3, 70, 2 * 1500, device="cuda", dtype=getattr(torch, dtype), requires_grad=True)
    change = torch.randn(3, 70, 1500, device="cuda", dtype=both.dtype)
    result = fast.GatedProduct.apply(both)
    result.backward(change)
    exact = both.detach().double().requires_grad_()
    gate, values = exact.chunk(2, dim=-1)
    expected = torch.nn.functional.silu(gate) * values
    expected.backward(change.double())
    allowed = 1e-6 if dtype == "float32" else 4e-3
    for found, wanted in ((result, expected), (both.grad, exact.grad)):
        assert (found - wanted).norm() < allowed * wanted.norm()


@pytest.mark.gpu
def test_phi3_trains_the_same_with_its_layers_replaced_on_a_card(fast, tmp_path):
    import torch

    model = adapted(load(make_tiny_model("phi3", tmp_path / "model"), "float32", "cuda"))
    ids = torch.arange(5, 45, device="cuda").reshape(2, 20)
    before = results(model, ids)
    fast.speed_up_phi3(model)
    assert any(type(module) is fast.GatedAtOnceMLP for module in model.modules())
    for found, expected in zip(results(model, ids), before, strict=True):
        assert torch.allclose(found, expected, atol=1e-4)


def test_dora_is_left_as_it_is(fast, tmp_path):
    model = adapted(load(make_tiny_model("llama-chatml", tmp_path / "model")), use_dora=True)
    fast.multiply_in_model_format(model)
    assert not any(isinstance(module, fast.InputFormatLinear) for module in model.modules())


def test_a_processor_keeps_its_attention(fast, tmp_path):
    model = load(make_tiny_model("llama-chatml", tmp_path / "model"))
    assert not fast.can_go_by_lengths(model)
    fast.FastTraining().on_train_begin(None, None, None, model=model)
    assert model.config._attn_implementation == "sdpa"


def test_padded_batches_are_attended_as_by_sdpa(fast, tmp_path):
    import torch

    model = load(make_tiny_model("mistral", tmp_path / "model"), "float32")
    ids = torch.arange(60).reshape(2, 30)
    mask = torch.ones_like(ids)
    mask[0, 20:] = 0
    expected = model(ids, attention_mask=mask).logits
    model.set_attn_implementation(fast.NAME)
    assert torch.equal(model(ids, attention_mask=mask).logits, expected)


def test_lengths_are_read_from_positions(fast):
    import torch

    positions = torch.tensor([[0, 1, 2, 0, 1, -1], [0, 1, 2, 3, 4, 5]])
    starts, longest = fast.Lengths().of(positions, 2)
    assert starts.tolist() == [0, 3, 5, 6, 12]
    assert longest == 6


@pytest.mark.gpu
@pytest.mark.parametrize("recipe", ["llama-chatml", "phi3", "qwen3", "mistral", "gemma3_text", "smollm3"])
def test_packed_examples_do_not_see_each_other_on_a_card(recipe, fast, tmp_path):
    import torch

    model = load(make_tiny_model(recipe, tmp_path / "model"), device="cuda").eval()
    assert fast.can_go_by_lengths(model)
    model.set_attn_implementation(fast.NAME)
    examples = [torch.randint(5, 60, (1, size), device="cuda") for size in (7, 30, 12)]
    alone = torch.cat([model(example).logits for example in examples], dim=1)
    positions = torch.cat([torch.arange(example.shape[1], device="cuda") for example in examples])[None]
    packed = model(torch.cat(examples, dim=1), position_ids=positions).logits
    assert torch.allclose(packed, alone, atol=0.05)


def checkpointed(folder, device):
    """A model that computes every block again, as the trainer sets it up."""
    model = load(make_tiny_model("llama-chatml", folder), device=device)
    model.config.use_cache = False
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return model.train()


@pytest.mark.parametrize(("room", "kept"), [(-5, 1), (99, 1), (100, 2), (10_000, None)])
def test_as_many_blocks_keep_activations_as_there_is_room_for(fast, tmp_path, room, kept):
    model = checkpointed(tmp_path / "model", "cpu")
    chosen = fast.Activations(model)
    chosen.each = 100
    chosen.keep(room)
    flags = [block.gradient_checkpointing for block in chosen.blocks]
    assert len(flags) == model.config.num_hidden_layers > 1
    assert flags == [at >= (len(flags) if kept is None else kept) for at in range(len(flags))]


def test_nothing_is_chosen_where_every_block_keeps_its_own(fast, tmp_path):
    model = load(make_tiny_model("llama-chatml", tmp_path / "model"))
    chosen = fast.Activations(model)
    chosen.keep(10**9)
    assert chosen.blocks == []


@pytest.mark.gpu
def test_blocks_that_keep_activations_change_no_gradient_on_a_card(fast, tmp_path):
    import torch

    model = checkpointed(tmp_path / "model", "cuda")
    ids = torch.arange(400, device="cuda").reshape(4, 100) % 60

    def gradients():
        model.zero_grad()
        model(ids, labels=ids).loss.backward()
        return [weight.grad.clone() for weight in model.parameters() if weight.grad is not None]

    before = gradients()
    chosen = fast.Activations(model)
    assert all(map(torch.equal, gradients(), before))
    assert chosen.each > 0
    chosen.keep(chosen.each)
    assert [block.gradient_checkpointing for block in chosen.blocks[:2]] == [False, False]
    assert all(map(torch.equal, gradients(), before))
    assert 0 < fast.usable_memory() <= torch.cuda.mem_get_info()[1]
