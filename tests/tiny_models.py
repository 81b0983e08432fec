"""Tiny random models of every architecture in the catalogue, made on the spot in seconds, without a hub.

Each has a tokenizer trained here, the special tokens and the turn structure of its family, and weights drawn
so that mistakes show: norms and biases are not at their neutral values, rotary bases and windows are the
family's own kind, and prompts of a few dozen tokens are longer than the sliding windows.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedModel, PreTrainedTokenizerFast

TEXT = """\
The lamp keeper climbs the stair each evening and lights the wick before the boats come home.
Rain is water that falls from clouds. Snow is water that falls as ice. What is the colour of the sea?
Answer with one word: yes, no, maybe. Counting: 0 1 2 3 4 5 6 7 8 9 10 11 12, then we stop.
{"city": "Oslo", "sight": "the harbour", "rating": 5} is a line of data, and so is [1, 2, 3].
A small model reads a question, thinks about it, and writes an answer; then the turn is over.
"""

_CHATML = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}"
)
_FOLD_SYSTEM = (  # families without a system role put its text before the first question
    "{%- set ns = namespace(lead='', turns=messages) %}"
    "{%- if messages and messages[0]['role'] == 'system' %}"
    "{%- set ns.lead = messages[0]['content'] + '\\n\\n' %}{%- set ns.turns = messages[1:] %}"
    "{%- endif %}"
)
_CHATML_SYSTEM = (
    "{%- if messages and messages[0]['role'] != 'system' %}"
    "{{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}"
    "{%- endif %}"
)
_NO_THINKING = (
    "{%- if enable_thinking is defined and not enable_thinking %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}"
)


@dataclass(frozen=True, slots=True)
class Chat:
    """How a family writes a conversation, and the tokens it does it with."""

    template: str
    end_of_turn: tuple[str, ...]
    bos: str | None
    pad: str
    extra: tuple[str, ...] = ()

    @property
    def specials(self) -> list[str]:
        """Every special token once, in a fixed order."""
        names = [self.pad, self.bos, *self.end_of_turn, *self.extra]
        return list(dict.fromkeys(name for name in names if name))


CHATS: dict[str, Chat] = {
    "chatml": Chat(
        template=_CHATML_SYSTEM + _CHATML + "{%- endif %}",
        end_of_turn=("<|im_end|>",),
        bos="<|im_start|>",
        pad="<|endoftext|>",
    ),
    "chatml-thinking": Chat(
        template=_CHATML + _NO_THINKING + "{%- endif %}",
        end_of_turn=("<|im_end|>",),
        bos=None,
        pad="<|endoftext|>",
        extra=("<|im_start|>",),
    ),
    "llama3": Chat(
        template=(
            "{{- bos_token }}"
            "{%- for message in messages %}"
            "{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}"
            "{{- message['content'] | trim + '<|eot_id|>' }}"
            "{%- endfor %}"
            "{%- if add_generation_prompt %}"
            "{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}"
            "{%- endif %}"
        ),
        end_of_turn=("<|eot_id|>", "<|end_of_text|>", "<|eom_id|>"),
        bos="<|begin_of_text|>",
        pad="<|finetune_right_pad_id|>",
        extra=("<|start_header_id|>", "<|end_header_id|>"),
    ),
    "phi3": Chat(
        template=(
            "{%- for message in messages %}"
            "{{- '<|' + message['role'] + '|>\\n' + message['content'] + '<|end|>\\n' }}"
            "{%- endfor %}"
            "{%- if add_generation_prompt %}{{- '<|assistant|>\\n' }}{%- endif %}"
        ),
        end_of_turn=("<|end|>", "<|endoftext|>"),
        bos="<s>",
        pad="<|endoftext|>",
        extra=("</s>", "<|assistant|>", "<|user|>", "<|system|>"),
    ),
    "phi4": Chat(
        template=(
            "{%- for message in messages %}"
            "{{- '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
            "{%- endfor %}"
            "{%- if add_generation_prompt %}{{- '<|assistant|>' }}{%- endif %}"
        ),
        end_of_turn=("<|end|>", "<|endoftext|>"),
        bos=None,
        pad="<|endoftext|>",
        extra=("<|assistant|>", "<|user|>", "<|system|>"),
    ),
    "mistral": Chat(
        template=(
            "{{- bos_token }}" + _FOLD_SYSTEM + "{%- for message in ns.turns %}"
            "{%- if message['role'] == 'user' %}"
            "{{- '[INST] ' + (ns.lead if loop.first else '') + message['content'] + '[/INST]' }}"
            "{%- else %}{{- ' ' + message['content'] + eos_token }}{%- endif %}"
            "{%- endfor %}"
        ),
        end_of_turn=("</s>",),
        bos="<s>",
        pad="<unk>",
        extra=("[INST]", "[/INST]"),
    ),
    "gemma": Chat(
        template=(
            "{{- bos_token }}" + _FOLD_SYSTEM + "{%- for message in ns.turns %}"
            "{%- set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
            "{{- '<start_of_turn>' + role + '\\n' + (ns.lead if loop.first else '') }}"
            "{{- message['content'] | trim + '<end_of_turn>\\n' }}"
            "{%- endfor %}"
            "{%- if add_generation_prompt %}{{- '<start_of_turn>model\\n' }}{%- endif %}"
        ),
        end_of_turn=("<end_of_turn>", "<eos>"),
        bos="<bos>",
        pad="<pad>",
        extra=("<start_of_turn>",),
    ),
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """What one tiny model is made of.

    Attributes:
        model_type: the transformers name; equals the catalogue's `architecture`.
        chat: key into `CHATS`.
        sentencepiece: pieces with `▁` and byte fallback, as Llama 2, Mistral, Phi 3 and Gemma have;
            otherwise byte-level pairs, as GPT-2, Qwen and Llama 3 have.
        tokenizer_class: what the family's own `tokenizer_config.json` names.
        config: keys of the transformers configuration that differ from `_SHAPE`.
    """

    model_type: str
    chat: str
    sentencepiece: bool
    tokenizer_class: str
    config: dict[str, Any] = field(default_factory=dict)


_SHAPE: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "tie_word_embeddings": False,
    "dtype": "float32",
}
_LLAMA3_ROPE: dict[str, Any] = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 128,
}
_LONG_ROPE: dict[str, Any] = {"rope_type": "longrope", "type": "longrope", "rope_theta": 10000.0}
_GEMMA_TEXT: dict[str, Any] = {
    "head_dim": 32,
    "num_key_value_heads": 1,
    "num_hidden_layers": 6,  # the sixth is the first that sees everything
    "sliding_window": 16,
    "query_pre_attn_scalar": 24,
    "tie_word_embeddings": True,
    "rope_parameters": {
        "full_attention": {"rope_type": "default", "rope_theta": 1000000.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
    },
}

# One entry a model_type of the catalogue, under that name; then variants within an architecture that take
# another path through the exporters.
RECIPES: dict[str, Recipe] = {
    "llama": Recipe(
        "llama",
        "llama3",
        sentencepiece=False,
        tokenizer_class="PreTrainedTokenizerFast",
        config={"rope_parameters": _LLAMA3_ROPE, "head_dim": 32, "tie_word_embeddings": True},
    ),
    "phi3": Recipe(
        "phi3",
        "phi3",
        sentencepiece=True,
        tokenizer_class="LlamaTokenizer",
        config={
            "hidden_size": 128,
            "num_key_value_heads": 4,
            "original_max_position_embeddings": 512,
            "sliding_window": 31,
        },
    ),
    "qwen2": Recipe(
        "qwen2",
        "chatml",
        sentencepiece=False,
        tokenizer_class="Qwen2Tokenizer",
        config={
            "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0},
            "hidden_size": 128,
            "tie_word_embeddings": True,
        },
    ),
    "qwen3": Recipe(
        "qwen3",
        "chatml-thinking",
        sentencepiece=False,
        tokenizer_class="Qwen2Tokenizer",
        config={
            "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0},
            "head_dim": 32,
            "tie_word_embeddings": True,
        },
    ),
    "mistral": Recipe(
        "mistral",
        "mistral",
        sentencepiece=True,
        tokenizer_class="LlamaTokenizer",
        config={
            "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0},
            "head_dim": 32,
            "sliding_window": None,
        },
    ),
    "gemma3_text": Recipe(
        "gemma3_text", "gemma", sentencepiece=True, tokenizer_class="GemmaTokenizer", config=_GEMMA_TEXT
    ),
    "gemma3": Recipe(
        "gemma3",
        "gemma",
        sentencepiece=True,
        tokenizer_class="GemmaTokenizer",
        config={
            **_GEMMA_TEXT,
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
            },
        },
    ),
    "smollm3": Recipe(
        "smollm3",
        "chatml-thinking",
        sentencepiece=False,
        tokenizer_class="PreTrainedTokenizerFast",
        config={
            "rope_parameters": {"rope_type": "default", "rope_theta": 5000000.0},
            "hidden_size": 128,
            "num_hidden_layers": 4,  # the fourth is the first without positions
            "tie_word_embeddings": True,
        },
    ),
    # SmolLM2 and TinyLlama: plain rotary positions.
    "llama-chatml": Recipe(
        "llama",
        "chatml",
        sentencepiece=False,
        tokenizer_class="GPT2Tokenizer",
        config={
            "rope_parameters": {"rope_type": "default", "rope_theta": 100000.0},
            "head_dim": 32,
            "tie_word_embeddings": True,
        },
    ),
    # Phi-3.5: two sets of rotary factors, short and long.
    "phi3-longrope": Recipe(
        "phi3",
        "phi3",
        sentencepiece=True,
        tokenizer_class="LlamaTokenizer",
        config={
            "hidden_size": 128,
            "num_key_value_heads": 4,
            "original_max_position_embeddings": 128,
            "rope_parameters": {
                **_LONG_ROPE,
                "short_factor": [1.0 + 0.02 * i for i in range(16)],
                "long_factor": [1.0 + 0.5 * i for i in range(16)],
            },
        },
    ),
    # Phi-4-mini: the same, on three quarters of each head, shared keys, tied embeddings.
    "phi3-partial": Recipe(
        "phi3",
        "phi4",
        sentencepiece=False,
        tokenizer_class="GPT2Tokenizer",
        config={
            "hidden_size": 256,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "original_max_position_embeddings": 128,
            "tie_word_embeddings": True,
            "partial_rotary_factor": 0.75,
            "rope_parameters": {
                **_LONG_ROPE,
                "partial_rotary_factor": 0.75,
                "short_factor": [1.0] * 24,
                "long_factor": [1.0 + 0.5 * i for i in range(24)],
            },
        },
    ),
}


def make_tiny_model(architecture: str, folder: Path, *, seed: int = 0) -> Path:
    """Write a tiny model with tokenizer, chat template and generation settings.

    Args:
        architecture: a `model_type` of the catalogue, or another key of `RECIPES`.
        folder: where it goes; made if missing.
        seed: of the weights; the tokenizer is the same for every seed.

    Returns:
        `folder`, loadable by transformers, Olive and, once exported, ONNX Runtime GenAI.
    """
    recipe = RECIPES[architecture]
    chat = CHATS[recipe.chat]
    tokenizer = _train_tokenizer(recipe, chat)
    model = _draw_model(recipe, chat, tokenizer, seed)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _name_tokenizer_class(folder / "tokenizer_config.json", recipe.tokenizer_class)
    return folder


def _train_tokenizer(recipe: Recipe, chat: Chat) -> PreTrainedTokenizerFast:
    from tokenizers import AddedToken
    from transformers import PreTrainedTokenizerFast

    raw = _train_sentencepiece(chat) if recipe.sentencepiece else _train_bytes(chat)
    raw.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in chat.specials])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        bos_token=chat.bos,
        eos_token=chat.end_of_turn[0],
        pad_token=chat.pad,
        clean_up_tokenization_spaces=False,
        model_max_length=_SHAPE["max_position_embeddings"],
    )
    tokenizer.chat_template = chat.template
    return tokenizer


def _train_bytes(chat: Chat) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=448,
        special_tokens=chat.specials,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    raw.train_from_iterator(TEXT.splitlines(keepends=True), trainer)
    return raw


def _train_sentencepiece(chat: Chat) -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers, trainers

    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    raw = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    raw.normalizer = normalizers.Replace(" ", "▁")
    raw.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    leading = list(dict.fromkeys(["<unk>", *chat.specials]))
    trainer = trainers.BpeTrainer(vocab_size=560, special_tokens=leading + fallback, show_progress=False)
    # As in the families' own vocabularies, no piece joins letters and signs, and every digit stands alone.
    raw.train_from_iterator(re.findall(r" ?[^\W\d]+|\d| |[^\w\s]", TEXT), trainer)
    state = json.loads(raw.to_str())
    # Byte pieces are ordinary pieces, not special ones; the trainer knows no other way to place them first.
    state["added_tokens"] = [token for token in state["added_tokens"] if token["content"] not in fallback]
    return Tokenizer.from_str(json.dumps(state))


def _draw_model(recipe: Recipe, chat: Chat, tokenizer: PreTrainedTokenizerFast, seed: int) -> PreTrainedModel:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

    ends = [tokenizer.convert_tokens_to_ids(name) for name in chat.end_of_turn]
    tokens = {"bos_token_id": tokenizer.bos_token_id, "pad_token_id": tokenizer.pad_token_id}
    shape = {**_SHAPE, **recipe.config, **tokens, "vocab_size": -(-len(tokenizer) // 64) * 64}
    shape["eos_token_id"] = ends if len(ends) > 1 else ends[0]
    config = AutoConfig.for_model(
        recipe.model_type, **(_with_vision(shape) if recipe.model_type == "gemma3" else shape)
    )
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    _spread(model)
    model.generation_config = GenerationConfig(**tokens, eos_token_id=shape["eos_token_id"], do_sample=False)
    return model


def _with_vision(text: dict[str, Any]) -> dict[str, Any]:
    """The Gemma 3 of 4 B and more: the same text model beside an image tower."""
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
        "vision_use_head": False,
    }
    return {
        "text_config": text,
        "vision_config": vision,
        "mm_tokens_per_image": 4,
        **{key: text[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id", "tie_word_embeddings")},
    }


def _spread(model: PreTrainedModel) -> None:
    """Draw weights in which every part of the network moves the logits."""
    import torch

    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn_like(weight)
            if weight.ndim > 1:
                weight.copy_(noise * (0.3 if "embed" in name else weight.shape[-1] ** -0.5 * 1.5))
            elif "norm" in name and name.endswith("weight"):
                weight.add_(noise * 0.1)
            else:
                weight.copy_(noise * 0.1)


def _name_tokenizer_class(path: Path, name: str) -> None:
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings["tokenizer_class"] = name
    path.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
