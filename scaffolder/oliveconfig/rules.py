"""Rules over several keys: what Olive refuses, and what it does in silence."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from scaffolder.oliveconfig.walk import Walk, shown
from scaffolder.worker.data.sensitive import secrets_of

if TYPE_CHECKING:
    from scaffolder.oliveconfig.document import Node

# Marks that tokenizers of the common families know as special tokens.
SPECIAL_TOKEN = re.compile(r"<\|[^|<>]+\|>|</?s>|<(?:bos|eos|pad)>|<(?:start|end)_of_turn>|<\|(?:im|end)_\w+>")
LORA_FAMILY = frozenset({"lora", "qlora", "loftq", "dora", "loha", "lokr"})


def check_rules(root: Node, walk: Walk) -> None:
    """Report combinations of keys that fail, or that do something else than they say."""
    section = root.get("data_configs")
    for item in section.items if section else ():
        if (component := item.get("pre_process_data_config")) is not None:
            _special_tokens(component, walk)
            _strategy(component, walk)
    for entry in passes_in(root):
        _evaluation(entry, walk)
    _search(root, walk)
    _secrets(root, walk)


def passes_in(root: Node) -> list[Node]:
    """Every pass of a configuration, in order."""
    section = root.get("passes")
    if section is None:
        return []
    entries = [(entry.items or (entry,)) for entry in section.members.values()]
    return [node for nodes in entries for node in nodes if node.kind == "object"]


def is_true(node: Node | None, *, default: bool) -> bool:
    """The truth of a switch, or its default where it is not given."""
    return default if node is None or node.kind != "boolean" else bool(node.value)


def _special_tokens(component: Node, walk: Walk) -> None:
    template = component.get("text_template")
    if template is None or not is_true(component.get("add_special_tokens"), default=True):
        return
    if found := SPECIAL_TOKEN.search(template.text):
        message = f"the template holds `{found.group()}`, and the tokenizer adds special tokens to every text too"
        walk.report(template, message, hint="set `add_special_tokens` to false", at_key=True, severity="warning")


def _strategy(component: Node, walk: Walk) -> None:
    strategy = component.get("strategy")
    name = strategy.text if strategy else "join"
    pads = is_true(component.get("pad_to_max_len"), default=True)
    if strategy is not None and "random" in name and not component.get("max_samples"):
        walk.report(strategy, f"strategy {shown(strategy)} needs `max_samples`")
    if strategy is not None and name == "join-sliding-window" and not component.get("stride"):
        walk.report(strategy, f"strategy {shown(strategy)} needs `stride`")
    mask = component.get("use_attention_mask")
    if mask is not None and pads and "join" not in name and not is_true(mask, default=True):
        walk.report(mask, "padding needs the attention mask; set `pad_to_max_len` to false", at_key=True)
    drop = component.get("drop_short_sequences")
    if drop is not None and pads and is_true(drop, default=False):
        walk.report(drop, "needs `pad_to_max_len` set to false", at_key=True)


def _evaluation(entry: Node, walk: Walk) -> None:
    kind = entry.get("type")
    strategy = entry.get("training_args", "eval_strategy")
    if kind is None or kind.text.casefold() not in LORA_FAMILY or strategy is None:
        return
    data = entry.get("eval_data_config")
    if strategy.text not in ("", "no") and (data is None or data.kind == "null"):
        message = "has no effect: the pass has no `eval_data_config`"
        walk.report(strategy, f"`eval_strategy` {message}", at_key=True, severity="warning")


def _search(root: Node, walk: Walk) -> None:
    strategy = root.get("search_strategy")
    if strategy is None or root.get("evaluator"):
        return
    if strategy.kind == "object" or strategy.value is True:
        walk.report(strategy, "a search needs an `evaluator`", at_key=True)


def _secrets(node: Node, walk: Walk) -> None:
    """Configurations lie in git, and stand in the record of every run."""
    for child in (*node.members.values(), *node.items):
        _secrets(child, walk)
    token = node.path.rpartition(".")[2] == "hub_token" and node.text != ""
    found = "an access token" if token else next((what for what, _ in secrets_of(node.text)), None)
    if found is not None:
        hint = "take it out and revoke it; HF_TOKEN or `scaffolder login` serve where one is needed"
        walk.report(node, f"holds {found.partition(':')[0]}, which every run would write down", hint=hint)
