"""Failures provoked for real on a tiny model: what the user reads, and that nothing half-made is left."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import MODEL, Result
from tests.environments import claim_version, make_environment, own_copy
from tests.test_interrupts import start, wait_for, workers

pytestmark = pytest.mark.olive

TRAINING = "passes.lora.training_args"
DATA = "data_configs.train.pre_process_data_config"


# A step over these rows takes gigabytes.
WIDE = [
    part
    for setting in (
        f"{DATA}.padding=max_length",
        f"{DATA}.max_seq_len=4096",
        f"{TRAINING}.per_device_train_batch_size=16",
    )
    for part in ("--set", setting)
]


def limited(root, limit, *arguments):
    """Run the command under a limit of the operating system, as `prlimit` takes it."""
    command = ["prlimit", limit, sys.executable, "-m", "scaffolder", "run", *arguments]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)
    return Result(done.returncode, done.stdout, done.stderr)


def hint_of(result):
    return result.err.partition("hint: ")[2]


@pytest.fixture
def fails(tiny_project):
    """Check an error's text, and what every failure has in common: the log is named, nothing is left or published."""

    def check(result, message, *hints, code=1, root=tiny_project):
        assert result.code == code, result.err
        assert "Traceback" not in result.err
        assert re.search(f"error: {message}", result.err), result.err
        log = re.search(r"the log: (\S+\.log)", result.err)
        assert log, result.err
        assert Path(log[1]).is_file()
        for hint in hints:
            assert hint in hint_of(result), result.err
        assert not (root / "fine-tuning" / "adapters").exists()
        assert not list((root / "gen-model").glob("*/genai_config.json"))
        assert workers(root) == []

    return check


def edit(path, change):
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config, indent=2))


# memory and disk


def test_out_of_memory_says_what_was_there_and_what_to_lower(tiny_project, fails):
    longer = ["--set", f"{DATA}.max_seq_len=65536", "--set", f"{TRAINING}.per_device_train_batch_size=2"]
    result = limited(tiny_project, "--as=3500000000", "fine-tuning", *WIDE, *longer)
    fails(
        result,
        "out of memory with one row at a time and nothing kept that can be computed again: "
        r"\d\.\d GB of 3\.5 GB were held; the estimate was",
        "rows have 65536 tokens: lower max_seq_len",
    )


def memory_group(name, limit):
    """Make a control group with a limit of memory, of either version; None where that is not allowed."""
    for root, file in (
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
        (Path("/sys/fs/cgroup"), "memory.max"),
    ):
        folder = root / name
        try:
            folder.mkdir()
            (folder / file).write_text(str(limit))
        except OSError:
            if folder.is_dir():
                folder.rmdir()
            continue
        return folder
    return None


def test_kernel_that_takes_the_memory_back_is_named(tiny_project, fails):
    group = memory_group(f"scaffolder-test-{os.getpid()}", 700_000_000)
    if group is None:
        pytest.skip("needs the right to make a control group")
    try:
        enter = f'echo $$ > {group}/cgroup.procs; exec "$0" -m scaffolder run fine-tuning "$@"'
        done = subprocess.run(
            ["sh", "-c", enter, sys.executable, *WIDE], cwd=tiny_project, capture_output=True, text=True
        )
    finally:
        group.rmdir()
    result = Result(done.returncode, done.stdout, done.stderr)
    fails(result, "the worker was killed in lora: memory ran out", f"{TRAINING}.per_device_train_batch_size=8")


def test_a_worker_killed_by_hand_is_not_blamed_on_memory(tiny_project, fails):
    process = start(tiny_project, "run", "fine-tuning", "--set", f"{TRAINING}.max_steps=400")
    wait_for(tiny_project, {"event": "step", "step": 2})
    [worker] = workers(tiny_project)
    worker.kill()
    _, err = process.communicate(timeout=60)
    fails(
        Result(process.returncode, "", err),
        r"the worker was killed in lora from outside \(SIGKILL\)",
        "`scaffolder run fine-tuning` continues",
    )


def test_a_file_that_may_not_grow(tiny_project, fails):
    result = limited(tiny_project, "--fsize=150000", "fine-tuning", "--force", "--set", f"{TRAINING}.save_steps=1")
    fails(result, "a file would become larger than is allowed here", "ulimit -f")


@pytest.fixture
def small_disk(tiny_project, tmp_path, monkeypatch):
    """The project on a disk of its own that is nearly full; called with a size, the disk grows."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=50m", "tmpfs", place]).returncode:
        pytest.skip("needs the right to mount a file system")
    try:
        subprocess.run(["cp", "-r", f"{tiny_project}/.", place], check=True)
        monkeypatch.chdir(place)

        def resize(size):
            subprocess.run(["mount", "-o", f"remount,size={size}", place], check=True)

        yield place, resize
    finally:
        monkeypatch.undo()
        subprocess.run(["umount", "--lazy", place], check=True)


def test_full_disk_is_named_and_the_run_goes_on_with_more_room(cli, small_disk, fails):
    root, resize = small_disk
    # Room for the first checkpoint, not for the adapter.
    used = sum(path.stat().st_blocks * 512 for path in root.rglob("*"))
    resize(used + 1_500_000)
    command = ["run", "fine-tuning", "--force", "--set", f"{TRAINING}.save_steps=1"]
    result = cli(*command)
    fails(result, "the disk is full", "0 MB are free", "it goes on", root=root)
    resize("50m")
    again = cli(*command)
    assert again.code == 0, again.err
    assert (root / "fine-tuning" / "adapters" / "lora" / "adapter" / "adapter_model.safetensors").is_file()


# data


def test_missing_column_of_a_table(cli, tiny_project, fails):
    (tiny_project / "datasets" / "train.csv").write_text("prompt,answer\nWhat?,That.\n")
    edit(
        tiny_project / "fine-tuning" / "lora.json",
        lambda config: config["data_configs"][0].update(
            load_dataset_config={"data_name": "csv", "data_files": "datasets/train.csv", "split": "train"}
        ),
    )
    result = cli("run", "fine-tuning")
    assert result.code == 2
    assert "datasets/train.csv:2: missing column `response`; this row has `prompt`, `answer`" in result.err
    assert "[dataset]" in result.err


def join_rows(config):
    data = config["data_configs"][0]
    del data["user_script"]
    data["pre_process_data_config"] = {"text_template": "{prompt} {response}", "max_seq_len": 8192}


def test_data_shorter_than_one_joined_block(cli, tiny_project, fails):
    edit(tiny_project / "fine-tuning" / "lora.json", join_rows)
    result = cli("run", "fine-tuning")
    fails(result, "the training data gave no example", "shorter than one block of max_seq_len=8192", "line-by-line")


def test_responses_that_are_all_cut_away(cli, tiny_project, fails):
    result = cli("run", "fine-tuning", "--set", f"{DATA}.max_seq_len=2")
    assert result.code == 2
    assert "datasets/train.jsonl: no row has a token to learn within max_seq_len" in result.err


# the model


def test_truncated_weights_are_named_with_the_download(cli, tiny_project, fails):
    os.truncate(tiny_project / MODEL / "model.safetensors", 200_000)
    result = cli("run", "fine-tuning")
    fails(
        result,
        "the weights of a model are damaged or incomplete",
        "model.safetensors",
        "scaffolder download HuggingFaceTB/SmolLM2-135M-Instruct --force",
    )


def test_tokenizer_without_a_chat_template(cli, tiny_project, fails):
    (tiny_project / MODEL / "chat_template.jinja").unlink()
    result = cli("run", "fine-tuning")
    fails(result, "the model's tokenizer has no chat template", "-Instruct")


def test_layers_that_the_model_lacks(cli, tiny_project, fails):
    result = cli("run", "fine-tuning", "--set", 'passes.lora.target_modules=["query_key_value"]')
    fails(
        result,
        "the model has no layer named {'query_key_value'}",
        "set target_modules to some of down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj",
    )


def test_architecture_that_cannot_be_exported(cli, tiny_project, fails):
    from transformers import GPT2Config, GPT2LMHeadModel

    shape = {"n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 512, "n_positions": 512}
    GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=0, eos_token_id=0)).save_pretrained(tiny_project / MODEL)
    edit(
        tiny_project / "gen-model" / "base-onnx-int8.json",
        lambda config: config.update(passes={"builder": {"type": "ModelBuilder", "precision": "fp32"}}),
    )
    result = cli("run", "gen-model", "--preset", "base-onnx-int8")
    fails(result, "ModelBuilder cannot export this architecture", "GPT2LMHeadModel", "`scaffolder presets`")


def test_training_that_diverges_ends_at_once(cli, tiny_project, fails):
    rate = f"{TRAINING}.learning_rate=1e30"
    result = cli("run", "fine-tuning", "--set", rate, "--set", f"{TRAINING}.max_steps=4000")
    fails(result, r"the training diverged: at step \d+ the gradients", "lower learning_rate (1e+30)", "1e+29")


# packages and devices


@pytest.mark.parametrize("method", ["lora", "loha", "lokr"])
def test_training_that_moved_nothing_is_no_result(cli, tiny_project, fails, method):
    arguments = f"passes.{method}.training_args"
    # The first step of a warm-up has a learning rate of zero.
    steps = ["--set", f"{arguments}.max_steps=1", "--set", f"{arguments}.warmup_steps=10"]
    result = cli("run", "fine-tuning", "--preset", method, *steps)
    fails(result, "the adapter is as it was before training", "check learning_rate and max_steps")


def test_missing_package_comes_with_its_install_line(cli, tiny_project, fails):
    make_environment(tiny_project, without=("peft",))
    result = cli("run", "fine-tuning")
    fails(
        result,
        "missing package peft in the project's environment",
        ".venv/bin/python -m pip install peft==",
        code=4,
    )


def test_package_that_transformers_refuses(cli, tiny_project, fails):
    claim_version(make_environment(tiny_project), "huggingface_hub", "3.0.0")
    result = cli("run", "fine-tuning")
    fails(
        result,
        r"transformers needs huggingface-hub>=\S+, and 3\.0\.0 is installed",
        "pip install huggingface-hub==",
        "huggingface-hub 3.0.0, tested",
        code=4,
    )


def test_genai_that_olive_cannot_build_for(cli, tiny_project, fails):
    packages = make_environment(tiny_project)
    builders = own_copy(own_copy(packages, "onnxruntime_genai"), "models")
    (builders / "quantized_model.py").unlink()  # as from 0.16 on
    claim_version(packages, "onnxruntime_genai", "0.16.0")
    result = cli("run", "gen-model", "--preset", "base-onnx-int8")
    fails(
        result,
        "this release of onnxruntime-genai does not fit Olive's ModelBuilder pass",
        "pip install onnxruntime-genai==0.14.1",
        "onnxruntime-genai 0.16.0, tested 0.14.1",
        code=4,
    )


def test_configuration_for_a_card_where_there_is_none(cli, tiny_project, fails):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a card here")

    def for_card(config):
        config["systems"]["local"]["accelerators"] = [
            {"device": "gpu", "execution_providers": ["CUDAExecutionProvider"]}
        ]

    edit(tiny_project / "fine-tuning" / "lora.json", for_card)
    result = cli("run", "fine-tuning")
    fails(result, "the configuration asks for a GPU, and PyTorch", '"device": "cpu"', code=4)
