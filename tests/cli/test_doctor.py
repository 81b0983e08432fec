import json
import sys

import pytest

from tests.conftest import MODEL


def checks(result):
    return {check["name"]: check for check in json.loads(result.out)}


def test_outside_a_project_the_machine_is_checked(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = cli("doctor", "--json")
    assert result.code == 0
    found = checks(result)
    assert found.keys() == {"python", "git", "memory", "disk", "accelerator", "hub"}
    assert found["python"]["found"] == ".".join(str(part) for part in sys.version_info[:3])


@pytest.mark.olive
def test_locked_environment_is_well(cli, project):
    result = cli("doctor", "--json")
    assert result.code == 0
    found = checks(result)
    assert found["olive-ai"]["status"] == "ok"
    assert found["hub"]["status"] == "warning"
    assert "HF_HUB_OFFLINE" in found["hub"]["fix"]
    assert found["model"]["fix"] == "scaffolder download"


def test_missing_git_is_an_error_with_its_remedy(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    result = cli("doctor")
    assert result.code == 4
    assert "install git" in result.out


def fake_environment(project, packages):
    """An interpreter whose site-packages hold nothing but the metadata of `packages`."""
    site = project / ".venv" / "site"
    for name, version in packages.items():
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    python = project / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\necho {site}\necho {site}\n")
    python.chmod(0o755)


def test_missing_and_other_versions_name_the_command_that_mends_them(cli, project):
    from scaffolder import presets

    packages = dict(presets.lock("cpu"))
    del packages["requests"]
    packages["onnxruntime-genai"] = "0.18.0"
    packages["torch"] = "2.13.0+cpu"
    fake_environment(project, packages)
    (project / MODEL).mkdir(parents=True)
    (project / MODEL / "config.json").write_text("{}")
    result = cli("doctor", "--json")
    assert result.code == 4
    found = checks(result)
    assert found["requests"]["status"] == "error"
    assert found["requests"]["fix"].endswith("-m pip install requests==2.34.2")
    assert found["onnxruntime-genai"]["status"] == "warning"
    assert found["onnxruntime-genai"]["found"] == "0.18.0, tested with 0.14.1"
    assert found["torch"]["status"] == "ok"
    assert found["model"]["status"] == "ok"


def test_text_shows_every_line_without_colour(cli, project):
    result = cli("doctor")
    assert "\x1b" not in result.out
    assert result.out.splitlines()[0].startswith("ok      python")
