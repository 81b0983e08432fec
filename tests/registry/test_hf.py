"""Uploads to a hub on loopback, by the hub's real client, of a model that was trained and exported."""

import hashlib
import json
from dataclasses import asdict

import pytest

from scaffolder.evaluation import Gate
from tests.hub_client import command
from tests.hub_server import TOKEN, Fault, serve

REPO = "acme/travel"
EXPORT = "gen-model/onnx-int8"
SECRET = "hf_" + "a1B2" * 9


@pytest.fixture
def empty_hub():
    with serve() as found:
        yield found


@pytest.fixture
def upload(trained, empty_hub):
    def run(*arguments, code=0, **options):
        result = command(trained, empty_hub, "upload", "hf", *arguments, **{"HF_TOKEN": TOKEN, **options})
        assert result.returncode == code, result.stderr
        return result

    return run


def content(root, name):
    return (root / EXPORT / name).read_bytes()


def newest(hub, repo=REPO):
    return hub.history[repo][-1]


def set_gates(root, text):
    path = root / "scaffolder.toml"
    path.write_text(path.read_text().replace("[gates]\n", f"[gates]\n{text}\n"))


def test_export_goes_up_as_one_private_commit_with_its_card_and_never_twice(upload, trained, empty_hub):
    found = json.loads(upload(REPO, "--json").stdout)
    assert found["private"]
    assert not found["unchanged"]
    assert len(empty_hub.history[REPO]) == 2  # the hub's own first one, and ours
    files = newest(empty_hub).files
    record = json.loads(content(trained, "run.json"))
    assert {name: files[name] for name in record["files"]} == {name: content(trained, name) for name in record["files"]}
    assert files["run.json"] == content(trained, "run.json")
    [message] = empty_hub.messages
    assert record["id"] in message["summary"]
    assert record["fingerprint"]["inputs"]["model-cache/HuggingFaceTB/SmolLM2-135M-Instruct"] not in message["summary"]
    assert all(str(trained) not in body.decode(errors="replace") for body in files.values())
    assert not any(place.startswith("store ") for place in empty_hub.authorized)
    check_card(trained, newest(empty_hub).files["README.md"].decode(), record)

    again = json.loads(upload(REPO, "--json").stdout)
    assert (again["unchanged"], again["changes"]) == (True, [])
    assert len(empty_hub.history[REPO]) == 2


def check_card(root, text, record):
    """Lineage, data, figures and licence, in a form that the hub reads."""
    from huggingface_hub import ModelCard

    card = ModelCard(text)
    assert card.data.base_model == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert (card.data.license, card.data.library_name) == ("apache-2.0", "onnxruntime-genai")
    data = hashlib.sha256((root / "datasets/train.jsonl").read_bytes()).hexdigest()
    loss = f"{record['metrics']['after']['loss']:.4g}"
    for told in (data, record["id"], record["key"], loss, "learning rate", f'snapshot_download("{REPO}")'):
        assert told in card.text


def test_next_upload_removes_what_the_last_one_left_and_nothing_else(upload, trained, empty_hub):
    upload(REPO, "--model", "adapter")
    before = newest(empty_hub).files
    settings = json.loads(before["adapter_config.json"])
    assert settings["base_model_name_or_path"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    weights = (trained / "fine-tuning/adapters/lora/adapter/adapter_model.safetensors").read_bytes()
    assert before["adapter_model.safetensors"] == weights
    empty_hub.put(REPO, {**before, "picture.png": b"by hand"}, "a picture")
    found = json.loads(upload(REPO, "--json").stdout)
    kinds = {change["path"]: change["kind"] for change in found["changes"]}
    assert kinds["adapter_model.safetensors"] == "deleted"
    assert kinds["run.json"] == "changed"
    files = newest(empty_hub).files
    assert files["picture.png"] == b"by hand"
    assert "adapter_config.json" not in files


def test_dropped_connection_is_survived_and_what_is_there_is_not_sent_again(upload, trained, empty_hub):
    weights = content(trained, "model.onnx")
    place = f"/lfs/{hashlib.sha256(weights).hexdigest()}"
    # Dropped in the middle: the client sends that file once more. Then the commit is refused.
    empty_hub.faults += [Fault(place, drop=1000), Fault("/commit/main", status=400, times=1)]
    upload(REPO, code=1)
    assert empty_hub.received[place] == 1000 + len(weights)
    assert len(empty_hub.history[REPO]) == 1
    upload(REPO)
    assert empty_hub.received[place] == 1000 + len(weights)
    assert newest(empty_hub).files["model.onnx"] == weights


def test_changed_model_is_refused_unless_forced(upload, trained, empty_hub):
    (trained / EXPORT / "genai_config.json").write_text("{}")
    result = upload(REPO, code=1)
    assert "was changed since it was verified" in result.stderr
    assert REPO not in empty_hub.history
    upload(REPO, "--force")
    assert "uploaded by force" in newest(empty_hub).files["README.md"].decode()


def test_model_without_a_record_is_refused(upload, trained):
    (trained / EXPORT / "run.json").unlink()
    assert "was never verified" in upload(REPO, code=1).stderr


def test_gates_have_to_be_judged_and_held(upload, trained, empty_hub):
    set_gates(trained, "max_loss = 1.0")
    assert "were not judged" in upload(REPO, code=1).stderr
    missed = Gate("max_loss", "onnx-int8", 1.0, 8.8, passed=False, advice="train longer")
    figures = {"score": {"name": "onnx-int8", "form": "onnx", "loss": 8.8}, "gates": [asdict(missed)]}
    (trained / EXPORT / "evaluation.json").write_text(json.dumps(figures))
    result = upload(REPO, code=1)
    assert "fails the gate max_loss = 1" in result.stderr
    assert REPO not in empty_hub.history
    # They are about the export, and say nothing of the adapter.
    upload("acme/adapter", "--model", "adapter")


def test_secrets_stay_here(upload, trained, empty_hub):
    card = trained / "card.md"
    card.write_text(f"# Mine\n\ntoken: {SECRET}\n")
    result = upload(REPO, "--card", "card.md", code=1)
    assert "README.md:3: looks like a Hugging Face token" in result.stderr
    assert SECRET not in result.stdout + result.stderr
    template = trained / EXPORT / "chat_template.jinja"
    template.write_text(f"{{# {SECRET} #}}")
    assert "chat_template.jinja:1" in upload(REPO, "--force", code=1).stderr
    assert REPO not in empty_hub.history


def test_public_repository_takes_an_explicit_word_and_stray_files_stay_here(upload, trained, empty_hub):
    (trained / EXPORT / "notes.txt").write_text("private")
    assert "notes.txt" in upload(REPO, "--public").stderr
    assert "notes.txt" not in newest(empty_hub).files
    assert REPO in empty_hub.public
    assert "is public" in upload(REPO, code=2).stderr


def test_dry_run_sends_nothing(upload, empty_hub):
    found = json.loads(upload("--dry-run", "--json").stdout)
    assert "model.onnx" in found["files"]
    assert found["card"].startswith("---\n")
    assert empty_hub.requests == []


def test_adapter_over_a_model_made_here_names_it(upload, trained):
    manifest = trained / "scaffolder.toml"
    path = "model-cache/HuggingFaceTB/SmolLM2-135M-Instruct"
    manifest.write_text(manifest.read_text().replace(f'path = "{path}"', f'path = "{path}-awq"'))
    (trained / path).rename(trained / f"{path}-awq")
    card = json.loads(upload("--model", "adapter", "--force", "--dry-run", "--json").stdout)["card"]
    assert f'from_pretrained("{path}-awq")' in card
    assert "fits no other" in card


def test_own_account_is_the_default(upload, empty_hub):
    upload()
    assert "ada/travel-onnx-int8" in empty_hub.history


def test_errors_say_what_to_do(upload, empty_hub):
    assert "organisation/name" in upload("travel", code=2).stderr
    assert "scaffolder login" in upload(REPO, code=1, HF_TOKEN="hf_wrong").stderr
    assert "HF_HUB_OFFLINE" in upload(REPO, code=4, HF_HUB_OFFLINE="1").stderr
    empty_hub.faults.append(Fault("/api/repos/create", status=403))
    assert "right to write" in upload(REPO, code=1).stderr
    result = upload(REPO, "--model", "base", code=2)
    assert "--model onnx" in result.stderr


def test_project_without_a_model_says_what_to_run(project, empty_hub):
    result = command(project, empty_hub, "upload", "hf", REPO, HF_TOKEN=TOKEN)
    assert result.returncode == 1
    assert "scaffolder run all" in result.stderr
