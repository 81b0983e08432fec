"""Files in Xet storage: the real client of that storage, against one in a folder."""

import pytest

from tests.hub_client import FILES, REPO, download, is_whole

WEIGHTS = "model.safetensors"


@pytest.fixture
def xet_hub(hub, tmp_path):
    """The hub, with its weights in a storage that `hf_xet` itself filled."""
    hf_xet = pytest.importorskip("hf_xet")
    hub.xet_endpoint = f"local://{tmp_path / 'xet'}"
    (tmp_path / "xet").mkdir()
    with hf_xet.XetSession().new_upload_commit(endpoint=hub.xet_endpoint) as commit:
        handle = commit.start_upload_bytes(FILES[WEIGHTS], name=WEIGHTS)
    hub.xet[WEIGHTS] = handle.result().xet_info.hash
    return hub


def test_weights_come_from_xet_storage(project, xet_hub):
    result = download(project, xet_hub, REPO, HF_HUB_DISABLE_XET="0")
    assert result.returncode == 0, result.stderr
    assert is_whole(project)
    assert xet_hub.bodies[WEIGHTS] == 0
    assert any("/xet-read-token/" in request for request in xet_hub.requests)


def test_part_is_gone_on_with_from_xet_storage(project, xet_hub):
    from tests.downloader.test_faults import kill_in_the_middle

    xet_hub.stall[WEIGHTS] = 700_000
    kill_in_the_middle(project, xet_hub)  # by plain HTTP
    xet_hub.stall.clear()
    result = download(project, xet_hub, REPO, "--json", HF_HUB_DISABLE_XET="0")
    assert result.returncode == 0, result.stderr
    assert is_whole(project)
    import json

    assert json.loads(result.stdout)["received"] < 600_000


def test_storage_that_has_other_bytes_is_refused(project, xet_hub):
    xet_hub.put(REPO, {**FILES, WEIGHTS: bytes(len(FILES[WEIGHTS]))})
    result = download(project, xet_hub, REPO, HF_HUB_DISABLE_XET="0")
    assert result.returncode == 1
    assert f"{WEIGHTS}: what the hub sends is not the file" in result.stderr


def test_storage_that_is_gone_is_told(project, xet_hub, tmp_path):
    import shutil

    shutil.rmtree(tmp_path / "xet")
    result = download(project, xet_hub, REPO, HF_HUB_DISABLE_XET="0")
    assert result.returncode != 0
    assert "error: " in result.stderr
    assert not (project / "model-cache" / REPO).exists()
