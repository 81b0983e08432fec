"""A model's card, written from its lineage and its figures alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from scaffolder import catalogue, modellock
from scaffolder.records import adapter_of
from scaffolder.scores import EVALUATION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scaffolder.project import Project
    from scaffolder.records import RunRecord
    from scaffolder.registry.deliverable import Deliverable

_OTHER = "other"
_LIBRARIES = {"adapter": "peft", "onnx": "onnxruntime-genai"}
# Licences that the hub knows by these names without a link.
_HUB_LICENCES = {"apache-2.0", "mit", "gemma", "llama3.1", "llama3.2"}
_ARGUMENTS = ("learning_rate", "max_steps", "num_train_epochs", "per_device_train_batch_size", "seed")


def write_card(project: Project, found: Deliverable, *, repo: str) -> str:
    """Return the card of the model in `repo` as Markdown, with the hub's metadata at its head."""
    head = yaml.safe_dump(_metadata(project, found), sort_keys=False, allow_unicode=True)
    parts = [
        f"# {found.name}",
        _summary(project, found),
        _use(project, found, repo),
        _figures(found),
        _training(found),
        _lineage(project, found),
        _licence_text(project),
    ]
    return f"---\n{head}---\n\n" + "\n\n".join(part for part in parts if part) + "\n"


def licence_of(project: Project) -> str | None:
    """Return the licence of the base model: as the catalogue has it, or as the model's own card says; else None."""
    model = catalogue.model_for(project.manifest.model.id)
    if model is not None and model.repo == project.manifest.model.id:
        return model.licence
    try:
        text = (project.model_folder / "README.md").read_text(encoding="utf-8")
        found = yaml.safe_load(text.split("---")[1])["license"]
    except (OSError, IndexError, KeyError, TypeError, yaml.YAMLError, UnicodeDecodeError):
        return None
    return found if isinstance(found, str) else None


def figures_of(found: Deliverable) -> dict[str, float]:
    """Return the figures of the model alone, by name: of its evaluation, else of its verification."""
    names = ("loss", "perplexity", "top1_agreement", "kl", "size", "tokens_per_second", "first_token_seconds", "memory")
    measured = found.figures or (found.record.metrics.get("after", {}) if found.record else {})
    figures = {name: measured[name] for name in names if measured.get(name) is not None}
    return {**figures, **found.figures.get("metrics", {}), **found.figures.get("lm_eval", {})}


def lineage_of(project: Project, found: Deliverable) -> dict[str, str]:
    """Return where the model came from, as short texts by name: base, data, run, versions."""
    locked = modellock.read(project.root).get(project.manifest.model.id)
    facts = {"base model": project.manifest.model.id}
    if locked and locked.commit:
        facts["base commit"] = locked.commit
    if found.training is not None:
        facts |= {f"data {name}": sha for name, sha in _data_of(found.training).items()}
        if found.training is not found.record:
            facts["training run"] = found.training.id
    if found.record is not None:
        facts |= {"run": found.record.id, "made": found.record.started, "fingerprint": found.record.fingerprint.key}
        facts["preset"] = found.record.preset
        facts["made with"] = ", ".join(f"{name} {ver}" for name, ver in found.record.fingerprint.versions.items())
        facts["scaffolder"] = found.record.command_version
    return facts


def _metadata(project: Project, found: Deliverable) -> dict[str, Any]:
    licence = licence_of(project)
    tags = ["olive", "onnx" if found.form == "onnx" else "peft", "olive-scaffolder"]
    head: dict[str, Any] = {
        "base_model": project.manifest.model.id,
        "base_model_relation": "adapter" if found.form == "adapter" else _relation(found),
        "library_name": _LIBRARIES[found.form],
        "pipeline_tag": "text-generation",
        "tags": tags,
        "license": licence if licence in _HUB_LICENCES else _OTHER,
    }
    if head["license"] == _OTHER:
        head["license_name"] = licence or "as-the-base-model"
        head["license_link"] = f"https://huggingface.co/{project.manifest.model.id}"
    return head


def _relation(found: Deliverable) -> str:
    """Return what an export is to its base, in the hub's words."""
    return "finetune" if found.record and adapter_of(found.record.config) else "quantized"


def _summary(project: Project, found: Deliverable) -> str:
    kind = "An adapter (PEFT) for" if found.form == "adapter" else "An ONNX model for ONNX Runtime GenAI, made from"
    text = f"{kind} [{project.manifest.model.id}](https://huggingface.co/{project.manifest.model.id})"
    verified = (
        "It was opened and used before the upload: it gives finite numbers, splits text as in training, and answers."
        if found.record and not found.faults
        else "**It was uploaded by force**: " + "; ".join(message for message, _ in found.faults) + "."
    )
    return f"{text}, by the project {project.manifest.project.name}. {verified}"


def _use(project: Project, found: Deliverable, repo: str) -> str:
    model, notes = project.manifest.model, []
    if found.form == "adapter":
        base = model.path if project.is_derived else model.id
        if project.is_derived:
            notes.append(f"`{base}` is made from {model.id} by the project; the adapter fits no other.")
        if found.quantised_base:
            notes.append(
                "It was trained over this base as a pass had quantised it, and its figures are those over that one: "
                "over the base as it is they differ a little."
            )
        code = (
            "from peft import PeftModel\n"
            "from transformers import AutoModelForCausalLM\n\n"
            f'model = AutoModelForCausalLM.from_pretrained("{base}")\n'
            f'model = PeftModel.from_pretrained(model, "{repo}")\n'
        )
    else:
        code = (
            "import onnxruntime_genai as genai\n"
            "from huggingface_hub import snapshot_download\n\n"
            f'model = genai.Model(snapshot_download("{repo}"))\n'
            "tokenizer = genai.Tokenizer(model)\n"
            "params = genai.GeneratorParams(model)\n"
            "params.set_search_options(max_length=512)\n"
            "generator = genai.Generator(model, params)\n"
            "generator.append_tokens(tokenizer.encode(tokenizer.apply_chat_template(\n"
            '    \'[{"role": "user", "content": "…"}]\', add_generation_prompt=True)))\n'
            "while not generator.is_done():\n"
            "    generator.generate_next_token()\n"
            "print(tokenizer.decode(generator.get_sequence(0)))\n"
        )
    if system := project.manifest.dataset.system_prompt:
        notes.append(f"It was trained with this system message:\n\n```text\n{system}\n```")
    return "\n\n".join(["## Use", f"```python\n{code}```", *notes])


def _figures(found: Deliverable) -> str:
    figures = figures_of(found)
    before = found.training.metrics.get("before", {}) if found.training else {}
    rows = [[name.replace("_", " "), _number(value), ""] for name, value in figures.items()]
    for row in rows:
        if row[0] in before:
            row[2] = _number(before[row[0]])
    rows += [[f"gate {gate['key']}", "holds" if gate["passed"] else "fails", f"limit {gate['limit']:g}"]
             for gate in found.gates]  # fmt: skip
    if not rows:
        return ""
    measured = "On the project's evaluation examples; loss in nats per response token, size and memory in bytes."
    return f"## Figures\n\n{measured}\n\n" + _table(("figure", "this model", "before training"), rows)


def _training(found: Deliverable) -> str:
    if found.training is None:
        return ""
    training, passes = found.training.training, found.training.config.get("passes", {})
    rows = [[name, f"`{sha}`"] for name, sha in _data_of(found.training).items()]
    rows += [[name, _number(training[name])] for name in ("steps", "tokens") if name in training]
    for settings in passes.values():
        rows += [[name, _number(settings[name])] for name in ("r", "alpha") if name in settings]
        arguments = settings.get("training_args", {})
        rows += [[name.replace("_", " "), _number(arguments[name])] for name in _ARGUMENTS if name in arguments]
    trained = "The examples stay with the project; their SHA-256 says which they were."
    return f"## Training\n\n{trained}\n\n" + _table(("what", "value"), rows)


def _lineage(project: Project, found: Deliverable) -> str:
    rows = [[name, value] for name, value in lineage_of(project, found).items() if not name.startswith("data ")]
    return "## Lineage\n\n" + _table(("what", "value"), rows) + f"\n\nIn full: `run.json`, `{EVALUATION}`."


def _licence_text(project: Project) -> str:
    licence = licence_of(project)
    base = project.manifest.model.id
    terms = f"{base} is under `{licence}`" if licence else f"The licence of {base} stands on its page"
    return f"## Licence\n\n{terms}; its terms hold for what is made of it."


def _data_of(training: RunRecord) -> dict[str, str]:
    inputs = training.fingerprint.inputs.items()
    return {name: sha for name, sha in inputs if Path(name).suffix in (".jsonl", ".json", ".csv", ".tsv", ".parquet")}


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
