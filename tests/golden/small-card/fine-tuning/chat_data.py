"""Data component for Olive: rows of chat or of prompt and response, loss on the response alone.

Olive imports this file because a configuration names it as `user_script`, and calls `chat_pre_process`
for each data configuration whose `pre_process_data_config.type` is `chat_pre_process`.

The text is what the model sees at inference: the tokenizer's own chat template, byte for byte, without
added special tokens. Labels of the prompt's tokens are -100, the index that the loss ignores.
"""

from __future__ import annotations

import bisect
import functools
import logging
import re
from typing import Any

import torch
from olive.data.component.dataset import BaseDataset
from olive.data.registry import Registry
from olive.passes.pytorch.lora import LoRA
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoTokenizer, PreTrainedTokenizerBase, set_seed

IGNORED = -100  # torch.nn.CrossEntropyLoss leaves this label out
logger = logging.getLogger(__name__)

# Olive draws the adapter's first weights before the trainer sets its own seed.
set_seed(42)


@Registry.register_pre_process()
def chat_pre_process(
    dataset: Any,
    model_name: str,
    prompt_column: str = "prompt",
    response_column: str = "response",
    messages_column: str | None = None,
    text_template: str | None = None,
    system_prompt: str | None = None,
    max_seq_len: int = 1024,
    train_on: str = "response",
    padding: str = "longest",
    packing: str = "none",
    max_samples: int | None = None,
    trust_remote_code: bool | None = None,
    **_: Any,
) -> BaseDataset:
    """Turn rows into token ids and labels.

    Args:
        dataset: A `datasets.Dataset` with the columns named below.
        model_name: Folder or hub id of the model whose tokenizer and chat template are used.
        prompt_column: Column with the user's text.
        response_column: Column with the answer to learn.
        messages_column: Column with a list of `{"role", "content"}`; replaces the two columns above.
        text_template: Text of the user's turn, with columns in braces; replaces the prompt's column.
        system_prompt: System message put before every conversation that has none.
        max_seq_len: Longest sequence in tokens; what goes beyond is cut.
        train_on: "response" for the loss on the last answer alone, "all" for every token.
        padding: "longest" leaves it to the batch, "max_length" fills every sequence up to `max_seq_len`.
        packing: "pack" puts several examples into one sequence of up to `max_seq_len` tokens, none of which
            sees another; a batch then counts such sequences. "none" keeps each apart.
        max_samples: Use at most this many rows.
        trust_remote_code: Passed on to the tokenizer.

    Returns:
        A dataset of `({"input_ids", "attention_mask"}, labels)`, each a 1-D tensor of int64; packed, of
        `({"input_ids", "position_ids"}, labels)`, where positions start at 0 with each example.

    Raises:
        ValueError: A named column is missing, or no row has a token to learn within `max_seq_len`.
    """
    named = re.findall(r"\{(\w+)\}", text_template) if text_template else [prompt_column]
    wanted = [messages_column] if messages_column else [*named, response_column]
    missing = [column for column in wanted if column not in dataset.column_names]
    if missing:
        raise ValueError(f"missing column {missing[0]!r}; the data has {sorted(dataset.column_names)}")
    if max_samples is not None:
        dataset = dataset.select(range(min(max_samples, len(dataset))))

    tokenizer = AutoTokenizer.from_pretrained(model_name, trust_remote_code=trust_remote_code)
    examples, cut = [], 0
    for row in dataset:
        if messages_column:
            messages = row[messages_column]
        else:
            prompt = fill(text_template, row) if text_template else row[prompt_column]
            messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": row[response_column]}]
        if system_prompt and messages[0]["role"] != "system":
            messages = [{"role": "system", "content": system_prompt}, *messages]
        prompt, response = encode(tokenizer, messages)
        ids = (prompt + response)[:max_seq_len]
        labels = ids if train_on == "all" else ([IGNORED] * len(prompt) + response)[:max_seq_len]
        cut += len(prompt) + len(response) > max_seq_len
        if any(label != IGNORED for label in labels):
            examples.append((ids, labels))
    if not examples:
        raise ValueError(f"no row has a token to learn within max_seq_len={max_seq_len}")
    if cut:
        logger.warning("%d of %d rows were cut at %d tokens", cut, len(dataset), max_seq_len)
    if packing == "pack":
        return BaseDataset(pack(examples, max_seq_len))
    filler = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    return BaseDataset([pad(*example, max_seq_len if padding == "max_length" else 0, filler) for example in examples])


def pad(ids: list[int], labels: list[int], length: int, filler: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Return one example as tensors, filled up to `length` tokens."""
    rest = max(length - len(ids), 0)
    features = {
        "input_ids": torch.tensor(ids + [filler] * rest),
        "attention_mask": torch.tensor([1] * len(ids) + [0] * rest),
    }
    return features, torch.tensor(labels + [IGNORED] * rest)


def pack(
    examples: list[tuple[list[int], list[int]]], length: int
) -> list[tuple[dict[str, torch.Tensor], torch.Tensor]]:
    """Put examples of ids and labels into as few sequences of at most `length` tokens as best fit decreasing finds.

    Positions start at 0 with each example. Without an attention mask, transformers reads from that where an
    example ends and lets no token look beyond (`masking_utils.find_packed_sequence_indices`).
    """
    pass_positions_on()
    rows: list[list[int]] = []
    rooms: list[tuple[int, int]] = []  # (tokens left, row), in order
    for index in sorted(range(len(examples)), key=lambda index: -len(examples[index][0])):
        size = len(examples[index][0])
        place = bisect.bisect_left(rooms, (size, 0))
        if place == len(rooms):
            rows.append([])
            rooms.append((length, len(rows) - 1))
        room, row = rooms.pop(place)
        rows[row].append(index)
        bisect.insort(rooms, (room - size, row))
    return [join([examples[index] for index in row]) for row in rows]


def join(examples: list[tuple[list[int], list[int]]]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Return one packed sequence; an example's first token is not to be guessed from the one before it."""
    features = {
        "input_ids": torch.tensor([token for ids, _ in examples for token in ids]),
        "position_ids": torch.cat([torch.arange(len(ids)) for ids, _ in examples]),
    }
    return features, torch.tensor([label for _, labels in examples for label in [IGNORED, *labels[1:]]])


def collate_packed(batch: list[dict[str, torch.Tensor]], tokenizer: PreTrainedTokenizerBase) -> dict[str, torch.Tensor]:
    """Return packed sequences as one batch; a token of filling, at position -1, sees itself alone."""
    fillers = {"input_ids": tokenizer.pad_token_id, "position_ids": -1, "labels": IGNORED}
    return {
        key: pad_sequence([row[key] for row in batch], batch_first=True, padding_value=filler)
        for key, filler in fillers.items()
    }


def pass_positions_on() -> None:
    """Let Olive's adapter passes collate packed sequences: their own way drops the positions."""
    plain = LoRA.collate_batch
    if hasattr(plain, "__wrapped__"):
        return

    @functools.wraps(plain)
    def collate(batch: list[dict[str, torch.Tensor]], tokenizer: PreTrainedTokenizerBase) -> dict[str, torch.Tensor]:
        return (collate_packed if "position_ids" in batch[0] else plain)(batch, tokenizer)

    LoRA.collate_batch = staticmethod(collate)


def fill(text_template: str, row: dict[str, Any]) -> str:
    """Return the template with `{column}` replaced by the row's values; other braces stay as they are."""
    return re.sub(r"\{(\w+)\}", lambda found: str(row[found[1]]), text_template)


def encode(tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]]) -> tuple[list[int], list[int]]:
    """Return the token ids of the prompt and of the last answer with its end token.

    The two are tokenised apart, as they are at inference, where the model continues a finished prompt.
    """
    prompt = tokenizer.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True)
    whole = tokenizer.apply_chat_template(messages, tokenize=False)
    if not whole.startswith(prompt):  # a template that rewrites earlier turns
        raise ValueError("the chat template does not continue its own generation prompt with the answer")
    answer = whole[len(prompt) :].rstrip("\n")
    return (
        tokenizer.encode(prompt, add_special_tokens=False),
        tokenizer.encode(answer, add_special_tokens=False),
    )
