"""The catalogue's facts hold together."""

from __future__ import annotations

import json
from pathlib import Path

import fits
import pytest
import yaml
from tiny_models import CHATS, RECIPES

from scaffolder import catalogue
from scaffolder.memory import Shape, estimate_training_memory

CATALOG = Path(__file__).parents[2] / "scaffolder" / "catalog"
MODEL_KEYS = {
    "repo",
    "family",
    "architecture",
    "parameters",
    "context",
    "licence",
    "gated",
    "chat",
    "lora_targets",
    "attention_targets",
    "shape",
    "export",
    "minimum",
}
CHAT_KEYS = {"kind", "user", "assistant", "end", "stop", "system", "system_default", "thinking"}
BLOCK = 32  # of the quantisers


def entries(name):
    question = yaml.safe_load((CATALOG / f"{name}.yml").read_text(encoding="utf-8"))[f"catalog_{name}"]
    assert question["when"] is False
    return question["default"]


MODELS = entries("models")
HARDWARE = entries("hardware")


def largest_that_fits(method, usable_gb):
    targets = {"lora": "attention_targets", "qlora": "lora_targets"}[method]
    fitting = [
        model["parameters"]
        for model in MODELS.values()
        if estimate_training_memory(
            Shape(**model["shape"]),
            method=method,
            rank=16,
            targets=tuple(model[targets]),
            sequence_length=1024,
            batch=1,
            checkpointing=True,
            fused_kernels=True,
        ).total
        <= usable_gb * 1e9
    ]
    return round(max(fitting) / 1e9, 1) if fitting else None


def test_no_model_is_lost():
    assert len(MODELS) == 27
    assert len({model["repo"] for model in MODELS.values()}) == len(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_model_is_complete(name):
    model = MODELS[name]
    assert set(model) == MODEL_KEYS
    assert set(model["chat"]) == CHAT_KEYS
    assert model["repo"].rpartition("/")[2] == name
    assert model["chat"]["end"] in model["chat"]["stop"]
    assert set(model["attention_targets"]) < set(model["lora_targets"])


@pytest.mark.parametrize("name", MODELS)
def test_shape_is_consistent(name):
    model = MODELS[name]
    shape = Shape(**model["shape"])
    assert shape.heads % shape.kv_heads == 0
    assert set(model["lora_targets"]) <= set(shape.features)
    assert all(inputs % BLOCK == 0 for inputs, _ in shape.features.values())
    text = shape.block_weights + shape.vocabulary_weights
    image_tower = 420_000_000 if model["architecture"] == "gemma3" else 0
    assert text + image_tower == pytest.approx(model["parameters"], rel=0.002)


@pytest.mark.parametrize("name", MODELS)
def test_model_has_a_tiny_maker_of_its_kind(name):
    model = MODELS[name]
    assert model["architecture"] in RECIPES
    assert RECIPES[model["export"]["tiny"]].model_type == model["architecture"]


def test_every_recipe_has_its_chat():
    assert {recipe.chat for recipe in RECIPES.values()} == set(CHATS)


@pytest.mark.parametrize("name", HARDWARE)
def test_hardware_limit_is_what_the_estimate_says(name):
    device = HARDWARE[name]
    if device["device"] == "gpu":
        assert device["limits"] == {m: largest_that_fits(m, device["usable_gb"]) for m in ("lora", "qlora")}


def test_hardware_covers_the_usual_sizes():
    assert [device["memory_gb"] for device in HARDWARE.values()] == [None, 8, 12, 16, 24, 48, 80]


@pytest.mark.parametrize("file", [catalogue.models, catalogue.methods, catalogue.hardware, catalogue.exports])
def test_catalogue_is_strictly_valid(file):
    assert len(file()) >= 6


def test_fits_are_what_the_estimate_says(request):
    path = CATALOG / "fits.yml"
    table = fits.table(MODELS, HARDWARE)
    if request.config.getoption("--update-golden", default=False):
        path.write_text(table, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == table


def test_fits_agree_with_the_limits():
    found = json.loads(entries("fits"))
    for name, model in MODELS.items():
        for device, chosen in found[name].items():
            limit = HARDWARE[device]["limits"]["lora"]
            assert (chosen["lora"] is not None) or model["parameters"] / 1e9 > limit - 0.1
