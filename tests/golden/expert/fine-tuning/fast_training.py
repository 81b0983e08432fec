"""Training on a card at its own speed: the same results with less computing.

Olive imports this file because a configuration names it as `user_script`. When training begins

- attention over packed sequences goes by their lengths (FlashAttention's variable-length kernel, which PyTorch brings)
  instead of a mask, so that nothing is computed between two examples;
- an adapter's weights stay in 32 bits, where they are updated, but are multiplied in the model's own format, and their
  product is added where the layer's own lies. PEFT casts every input to 32 bits and back, then scales and adds in
  passes over memory of their own, which costs more than the adapter's arithmetic;
- queries, keys and values that are one layer, as Phi-3's are, are cut apart at once: each of three slices would fill a
  gradient of the whole's size. Its gate and values, one layer too, are multiplied where they lie, without being copied;
- with `gradient_checkpointing`, as many blocks as the card's memory holds keep their activations all the same.

Where the machine or the model does not allow one of them, training goes on without it.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any

import torch
import transformers.trainer
from peft.import_utils import is_bnb_4bit_available
from peft.tuners.lora import Linear as LoraLinear
from peft.tuners.lora import LoraLayer
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel, TrainerCallback
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.phi3 import modeling_phi3
from transformers.models.phi3.modeling_phi3 import Phi3Attention, Phi3MLP

try:
    from torch.nn.attention.varlen import varlen_attn
except ImportError:  # torch before 2.10
    varlen_attn = None
try:
    import triton
    import triton.language as tl
except ImportError:  # no card, or Windows
    triton = None

NAME = "by_lengths"
PARAMETERS = inspect.signature(varlen_attn).parameters if varlen_attn else {}
# FlashAttention 2 needs an Ampere card or newer, and heads of at most 256 numbers.
LARGEST_HEAD, OLDEST_CARD = 256, (8, 0)


# Of a card's memory: the rest is for what its allocator cannot use.
USABLE = 0.92
# Before blocks are chosen: the optimiser has its memory after the first.
STEPS_WATCHED = 2


class FastTraining(TrainerCallback):
    """Prepares the model before the first step, and keeps what there is room for after a few."""

    def __init__(self) -> None:
        self.activations: Activations | None = None
        self.choose_after = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, model: nn.Module | None = None, **_: Any) -> None:
        """Called by the trainer."""
        multiply_in_model_format(model)
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        # The trainer counts them again for each pass, while the card waits.
        base.num_parameters = functools.cache(base.num_parameters)
        if can_go_by_lengths(base):
            base.set_attn_implementation(NAME)
            speed_up_phi3(base)
            self.activations = Activations(base)
            self.choose_after = state.global_step + STEPS_WATCHED

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Called by the trainer."""
        # Packed batches are all of one size: what held the first will hold the others.
        if self.activations and state.global_step == self.choose_after and lengths.positions is not None:
            self.activations.keep(usable_memory() - torch.cuda.max_memory_allocated())


class Activations:
    """Which blocks keep their activations for the backward pass, of those that would compute them again.

    Args:
        model: On a card. Its first block keeps them from the start, to see what that takes.
    """

    def __init__(self, model: nn.Module) -> None:
        self.blocks = [
            block
            for block in model.modules()
            if isinstance(block, GradientCheckpointingLayer) and block.gradient_checkpointing
        ]
        self.held = self.each = 0
        for block in self.blocks[:1]:
            block.gradient_checkpointing = False
            block.register_forward_pre_hook(self._before)
            block.register_forward_hook(self._after)

    def keep(self, room: int) -> None:
        """Let so many blocks keep theirs that they fill `room` bytes."""
        if self.each > 0:
            for block in self.blocks[1 : 1 + max(0, room // self.each)]:
                block.gradient_checkpointing = False

    def _before(self, *_: Any) -> None:
        self.held = torch.cuda.memory_allocated()

    def _after(self, *_: Any) -> None:
        self.each = max(self.each, torch.cuda.memory_allocated() - self.held)


def usable_memory() -> int:
    """Return the bytes of the card that this process may use, its own included."""
    free, total = torch.cuda.mem_get_info()
    allowed = torch.cuda.get_per_process_memory_fraction() * total
    return int(USABLE * min(free + torch.cuda.memory_reserved(), allowed))


def can_go_by_lengths(model: PreTrainedModel) -> bool:
    """Return whether the kernel exists here and fits the model; sdpa is what it replaces."""
    config = model.config.get_text_config()
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return (
        "window_size" in PARAMETERS
        and config._attn_implementation == "sdpa"
        and model.device.type == "cuda"
        and torch.cuda.get_device_capability(model.device) >= OLDEST_CARD
        and model.dtype in (torch.bfloat16, torch.float16)
        and size <= LARGEST_HEAD
        and not getattr(config, "attention_dropout", 0.0)
    )


def attention_by_lengths(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    position_ids: torch.Tensor | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Attend within each example of a packed batch; with a mask, as sdpa does.

    Args:
        module: The attention layer.
        query: Of shape (batch, heads, tokens, size).
        key: Of shape (batch, key heads, tokens, size).
        value: As `key`.
        attention_mask: None for a packed batch.
        scaling: Of the scores.
        sliding_window: Tokens that a token sees, itself included.
        position_ids: Of shape (batch, tokens); 0 where an example begins, below 0 for filling.
        others: Passed on to sdpa.

    Returns:
        The result of shape (batch, tokens, heads, size), and no weights.
    """
    if attention_mask is not None or query.shape[2] != key.shape[2]:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **others)
    if position_ids is None:
        raise ValueError("this model's attention is not told positions: take fast_training.py out of data_configs")
    batch, heads, tokens, size = query.shape
    starts, longest = lengths.of(position_ids, batch)
    shared = heads // key.shape[1]
    grouped = {"enable_gqa": True} if shared > 1 and "enable_gqa" in PARAMETERS else {}
    if shared > 1 and not grouped:
        key, value = (part.repeat_interleave(shared, dim=1) for part in (key, value))
    result = varlen_attn(
        *(part.transpose(1, 2).reshape(batch * tokens, -1, size) for part in (query, key, value)),
        starts,
        starts,
        longest,
        longest,
        scale=scaling,
        window_size=(-1 if sliding_window is None else sliding_window - 1, 0),
        **grouped,
    )
    return result.reshape(batch, tokens, heads, size), None


class Lengths:
    """Where the examples of a batch begin, worked out once for all its layers."""

    def __init__(self) -> None:
        self.positions: torch.Tensor | None = None
        self.found: tuple[torch.Tensor, int] = (torch.empty(0), 0)

    def of(self, positions: torch.Tensor, batch: int) -> tuple[torch.Tensor, int]:
        """Return where each example begins in the flattened batch and where the last ends, and the longest."""
        if positions is not self.positions:
            begins = (positions.expand(batch, -1).flatten() <= 0).nonzero().flatten()
            end = begins.new_tensor([batch * positions.shape[1]])
            starts = torch.cat([begins, end]).to(torch.int32)
            self.positions, self.found = positions, (starts, int(starts.diff().max()))
        return self.found


lengths = Lengths()


def mask_by_lengths(*args: Any, attention_mask: torch.Tensor | None = None, **kwargs: Any) -> torch.Tensor | None:
    """Return no mask for a packed batch, else the one that sdpa takes."""
    if attention_mask is None and kwargs.get("q_length") == kwargs.get("kv_length"):
        return None
    return sdpa_mask(*args, attention_mask=attention_mask, **kwargs)


class InputFormatLinear(nn.Linear):
    """A linear layer that multiplies in the format of its input, whatever its own weights are kept in."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the product, in the format of `inputs`."""
        bias = None if self.bias is None else self.bias.to(inputs.dtype)
        return nn.functional.linear(inputs, self.weight.to(inputs.dtype), bias)


class Adding:
    """What makes one of PEFT's layers add its adapter's product where the layer's own lies."""

    def forward(self, inputs: torch.Tensor, *args: Any, **others: Any) -> torch.Tensor:
        """Return the sum of both products; what is not plain training is left to PEFT."""
        names = [name for name in self.active_adapters if name in self.lora_A]
        if args or others or self.disable_adapters or self.merged or len(names) != 1:
            return super().forward(inputs, *args, **others)
        # In two dimensions: the product in three is a view, of which adding would copy the gradient.
        flat = inputs.flatten(0, -2)
        result = self.base_layer(flat)
        # Formats differ where autocast multiplies in another than quantised layers return.
        reduced = self.lora_A[names[0]](flat).to(result.dtype)
        up = self.lora_B[names[0]].weight.to(result.dtype)
        result.addmm_(reduced, up.T, alpha=self.scaling[names[0]])
        return result.view(*inputs.shape[:-1], -1)


@functools.cache
def layers_that_add() -> dict[type, type]:
    """Return PEFT's layers with those that they are put around: their results are nobody else's, to be added to."""
    found = {LoraLinear: nn.Linear}
    if is_bnb_4bit_available():
        import bitsandbytes
        from peft.tuners.lora import Linear4bit

        found[Linear4bit] = bitsandbytes.nn.Linear4bit
    return found


@functools.cache
def adding(kind: type) -> type:
    """Return one of PEFT's layers as one that adds."""
    return type(f"Adding{kind.__name__}", (Adding, kind), {})


def can_add(layer: LoraLayer) -> bool:
    """Return whether `layer` is a plain one: no variant of LoRA, no dropout, no bias of the adapter's."""
    return (
        type(layer.base_layer) is layers_that_add().get(type(layer))
        and not layer.lora_variant
        and all(isinstance(dropout, nn.Identity) for dropout in layer.lora_dropout.values())
        and all(type(linear) is InputFormatLinear and linear.bias is None for linear in layer.lora_B.values())
    )


def multiply_in_model_format(model: nn.Module) -> None:
    """Let LoRA's layers take their inputs as they come; weights, gradients and names stay as they are."""
    for layer in model.modules():
        # DoRA's norms want their 32 bits.
        if not isinstance(layer, LoraLayer) or any(layer.use_dora.values()):
            continue
        layer.cast_input_dtype_enabled = False
        for linear in (*layer.lora_A.values(), *layer.lora_B.values()):
            if type(linear) is nn.Linear:
                linear.__class__ = InputFormatLinear
        if can_add(layer):
            layer.__class__ = adding(type(layer))


class CutAtOnceAttention(Phi3Attention):
    """Phi-3's attention, with one gradient for queries, keys and values together."""

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
        attention_mask: torch.Tensor | None,
        past_key_values: Any = None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return what Phi-3's attention returns; answering, with a cache, is left to it."""
        if past_key_values is not None:
            return super().forward(hidden_states, position_embeddings, attention_mask, past_key_values, **kwargs)
        shape = hidden_states.shape[:-1]
        heads, pairs = self.config.num_attention_heads, self.config.num_key_value_heads
        parts = self.qkv_proj(hidden_states).split([count * self.head_dim for count in (heads, pairs, pairs)], dim=-1)
        query, key, value = (part.view(*shape, -1, self.head_dim).transpose(1, 2) for part in parts)
        # Looked up when called: liger puts a kernel of its own there.
        query, key = modeling_phi3.apply_rotary_pos_emb(query, key, *position_embeddings)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, modeling_phi3.eager_attention_forward
        )
        settings = {
            "dropout": self.attention_dropout if self.training else 0.0,
            "scaling": self.scaling,
            "sliding_window": getattr(self.config, "sliding_window", None),
        }
        result, weights = attend(self, query, key, value, attention_mask, **settings, **kwargs)
        return self.o_proj(result.reshape(*shape, -1)), weights


# What transformers 5 calls Phi-3's attention with; `CutAtOnceAttention` takes no other.
ATTENTION_PARAMETERS = ["self", "hidden_states", "position_embeddings", "attention_mask", "past_key_values", "kwargs"]


class GatedAtOnceMLP(Phi3MLP):
    """Phi-3's feed-forward layers, whose gate and values are read and their gradients written where they lie."""

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Return what Phi-3's layers return."""
        return self.down_proj(GatedProduct.apply(self.gate_up_proj(hidden_states)))


class GatedProduct(torch.autograd.Function):
    """`silu(gate) * values`, for a tensor that holds gate and values side by side in its last dimension."""

    COLUMNS = 1024  # of one program

    @staticmethod
    def forward(ctx: Any, both: torch.Tensor) -> torch.Tensor:
        """Return the product, of shape (..., n), for `both` of shape (..., 2 n)."""
        both = both.contiguous()
        result = both.new_empty(*both.shape[:-1], both.shape[-1] // 2)
        GatedProduct.launch(gated_product, result, both, result)
        ctx.save_for_backward(both)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        """Return the gradient of `both`, of its shape, for the product's gradient of shape (..., n)."""
        (both,) = ctx.saved_tensors
        result = torch.empty_like(both)
        GatedProduct.launch(gated_product_gradient, gradient, both, gradient.contiguous(), result)
        return result

    @staticmethod
    def launch(kernel: Any, like: torch.Tensor, *tensors: torch.Tensor) -> None:
        """Run a kernel over all rows and columns of `like`."""
        columns = like.shape[-1]
        grid = (like.numel() // columns, triton.cdiv(columns, GatedProduct.COLUMNS))
        kernel[grid](*tensors, columns, GatedProduct.COLUMNS)


if triton:

    @triton.jit
    def gated_product(both, result, columns, block: tl.constexpr):
        """Write one row's product; computed in 32 bits."""
        row = tl.program_id(0).to(tl.int64)
        column = tl.program_id(1) * block + tl.arange(0, block)
        inside = column < columns
        gate = tl.load(both + row * 2 * columns + column, mask=inside).to(tl.float32)
        values = tl.load(both + row * 2 * columns + columns + column, mask=inside).to(tl.float32)
        tl.store(result + row * columns + column, gate * tl.sigmoid(gate) * values, mask=inside)

    @triton.jit
    def gated_product_gradient(both, gradient, result, columns, block: tl.constexpr):
        """Write one row's gradients of gate and values."""
        row = tl.program_id(0).to(tl.int64)
        column = tl.program_id(1) * block + tl.arange(0, block)
        inside = column < columns
        gate = tl.load(both + row * 2 * columns + column, mask=inside).to(tl.float32)
        values = tl.load(both + row * 2 * columns + columns + column, mask=inside).to(tl.float32)
        change = tl.load(gradient + row * columns + column, mask=inside).to(tl.float32)
        share = tl.sigmoid(gate)
        of_gate = change * values * share * (1 + gate * (1 - share))
        tl.store(result + row * 2 * columns + column, of_gate, mask=inside)
        tl.store(result + row * 2 * columns + columns + column, change * gate * share, mask=inside)


def speed_up_phi3(model: nn.Module) -> None:
    """Replace the forward methods of Phi-3's layers, where they are as known here; weights and names stay."""
    parameters = list(inspect.signature(Phi3Attention.forward).parameters)
    for layer in model.modules():
        if type(layer) is Phi3Attention and parameters == ATTENTION_PARAMETERS:
            layer.__class__ = CutAtOnceAttention
        elif type(layer) is Phi3MLP and triton and layer.config.hidden_act == "silu" and not hasattr(layer, "_hf_hook"):
            layer.__dict__.pop("forward", None)  # liger's
            layer.__class__ = GatedAtOnceMLP


AttentionInterface.register(NAME, attention_by_lengths)
AttentionMaskInterface.register(NAME, mask_by_lengths)
if not any(getattr(callback, "__name__", "") == "FastTraining" for callback in transformers.trainer.DEFAULT_CALLBACKS):
    transformers.trainer.DEFAULT_CALLBACKS.append(FastTraining)
