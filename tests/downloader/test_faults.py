"""What can go wrong on the way: the right file in the end, or an error that says what to do; never half a file."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.hub_client import FILES, REPO, WANTED, download, environment, files_of, is_whole
from tests.hub_server import COMMIT, TOKEN, Fault

WEIGHTS = "model.safetensors"
ALWAYS = 10**6


def nothing_published(root):
    """Whether neither the model nor its lock is there: only what is under way may be."""
    names = [path.name for path in (root / "model-cache").glob("acme/*")]
    return set(names) <= {".tiny.partial"} and not (root / "model-cache" / "models.lock").exists()


def failed(result, root, *words, code=1):
    assert result.returncode == code, result.stderr
    for word in words:
        assert word in result.stderr
    assert nothing_published(root)
    return True


@pytest.mark.parametrize("name", [WEIGHTS, "tokenizer.json"])
def test_connection_dropped_in_the_middle_goes_on_where_it_broke(project, hub, name):
    hub.faults.append(Fault(name, drop=len(FILES[name]) // 2))
    result = download(project, hub, REPO)
    assert result.returncode == 0, result.stderr
    assert "goes on" in result.stderr
    assert is_whole(project)
    assert hub.bodies[name] == len(FILES[name])


def test_connection_dropped_again_and_again_is_given_up_and_gone_on_with_later(project, hub):
    hub.faults.append(Fault(WEIGHTS, drop=1000, times=6))
    assert failed(download(project, hub, REPO), project, "the connection to the hub broke", "goes on where", code=4)
    assert download(project, hub, REPO).returncode == 0
    assert is_whole(project)
    assert hub.bodies[WEIGHTS] == len(FILES[WEIGHTS])


def test_server_that_knows_no_ranges_sends_the_file_anew(project, hub):
    hub.ranges = False
    hub.faults.append(Fault(WEIGHTS, drop=500_000))
    assert download(project, hub, REPO).returncode == 0
    assert is_whole(project)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_busy_hub_is_tried_again(project, hub, status):
    hub.faults.append(Fault(WEIGHTS, status=status))
    result = download(project, hub, REPO)
    assert result.returncode == 0, result.stderr
    assert f"the hub answered {status}" in result.stderr
    assert is_whole(project)


def test_wait_that_the_hub_asks_for_is_kept(project, hub):
    hub.faults.append(Fault(WEIGHTS, status=429, headers={"Retry-After": "2"}))
    started = time.monotonic()
    result = download(project, hub, REPO)
    assert result.returncode == 0, result.stderr
    assert "in 2.0 s" in result.stderr
    assert time.monotonic() - started > 2


def test_wait_that_is_too_long_is_told_at_once(project, hub):
    hub.faults.append(Fault(WEIGHTS, status=503, headers={"Retry-After": "7200"}))
    assert failed(download(project, hub, REPO), project, "503", "asks to wait 7200 s", "goes on where", code=4)


def test_listing_of_a_busy_hub_is_tried_again(project, hub):
    hub.faults.append(Fault("/api/models/acme/tiny", status=503, headers={"Retry-After": "1"}))
    assert download(project, hub, REPO).returncode == 0
    assert is_whole(project)


def test_hub_that_stays_busy_is_given_up(project, hub):
    hub.faults.append(Fault(WEIGHTS, status=500, times=ALWAYS))
    assert failed(download(project, hub, REPO), project, "the hub answered 500", WEIGHTS, "goes on where", code=4)


def test_body_shorter_than_listed_is_asked_for_again(project, hub):
    hub.faults.append(Fault(WEIGHTS, change=lambda content: content[:-100]))
    result = download(project, hub, REPO)
    assert result.returncode == 0, result.stderr
    assert is_whole(project)


@pytest.mark.parametrize("name", [WEIGHTS, "tokenizer.json"])
def test_body_changed_on_the_way_is_fetched_anew(project, hub, name):
    hub.faults.append(Fault(name, change=lambda content: content[:-1] + b"?"))
    assert download(project, hub, REPO).returncode == 0
    assert is_whole(project)


@pytest.mark.parametrize("name", [WEIGHTS, "tokenizer.json"])
def test_content_that_is_never_the_listed_one_is_refused_by_name(project, hub, name):
    # The file changed between listing and download, or a mirror serves another one under its name.
    hub.faults.append(Fault(name, change=lambda content: bytes(len(content)), times=ALWAYS))
    assert failed(download(project, hub, REPO), project, f"{name}: what the hub sends is not the file", "mirror")
    assert hub.asked_for(name) == (4 if name == WEIGHTS else 2)  # a redirection counts as well
    assert not any(name == path.name for path in project.rglob(".tiny.partial/files/*"))


def test_body_longer_than_listed_is_refused(project, hub):
    hub.faults.append(Fault(WEIGHTS, change=lambda content: content + b"more", times=ALWAYS))
    assert failed(download(project, hub, REPO), project, WEIGHTS, "1,024,004 bytes instead of 1,024,000")


def test_listing_with_a_wrong_hash_is_no_reason_to_take_the_file(project, hub):
    hub.claimed[WEIGHTS] = 1_000_000
    assert failed(download(project, hub, REPO), project, WEIGHTS, "is not the file that was asked for")


def test_connection_that_stands_still_is_left(project, hub):
    hub.faults.append(Fault(WEIGHTS, before=lambda: time.sleep(4)))
    result = download(project, hub, REPO, HF_HUB_DOWNLOAD_TIMEOUT="1")
    assert result.returncode == 0, result.stderr
    assert "nothing came from the hub for 1 s" in result.stderr
    assert is_whole(project)


def test_connection_that_trickles_is_left(project, hub):
    hub.faults.append(Fault(WEIGHTS, trickle=0.05))
    result = download(project, hub, REPO, HF_HUB_DOWNLOAD_TIMEOUT="1")
    assert result.returncode == 0, result.stderr
    assert "less than 1 kB/s" in result.stderr
    assert is_whole(project)


def test_hub_that_goes_away_is_told_without_long_waits(project, hub):
    download(project, hub, REPO)
    (project / "model-cache" / REPO / "config.json").unlink()
    started = time.monotonic()
    result = download(project, None, REPO)
    assert result.returncode == 4
    assert "the hub cannot be reached" in result.stderr
    assert "HF_ENDPOINT" in result.stderr
    assert time.monotonic() - started < 15


def test_gated_repository_says_what_to_do(project, hub):
    hub.gated.add(REPO)
    page = f"{hub.url}/acme/tiny"
    assert failed(download(project, hub, REPO), project, "acme/tiny is gated", page, "scaffolder login")
    assert failed(download(project, hub, REPO, HF_TOKEN="hf_wrong"), project, "acme/tiny is gated")
    assert download(project, hub, REPO, HF_TOKEN=TOKEN).returncode == 0
    assert is_whole(project)


def test_unknown_repository(project, hub):
    assert failed(download(project, hub, "acme/nothing"), project, "no model acme/nothing", "check the spelling")


def test_unknown_revision(project, hub):
    assert failed(download(project, hub, REPO, "--revision", "v9"), project, "no revision v9")
    assert failed(download(project, hub, f"hf://{REPO}@{'a' * 40}"), project, f"no revision {'a' * 40}")


def test_file_that_vanished_from_the_commit(project, hub):
    download(project, hub, REPO)
    lock = (project / "model-cache/models.lock").read_text()
    (project / "model-cache" / REPO / "tokenizer.json").unlink()
    del hub.history[REPO][0].files["tokenizer.json"]
    result = download(project, hub, REPO, "--locked")
    assert result.returncode == 1
    assert "has no file tokenizer.json" in result.stderr
    assert (project / "model-cache/models.lock").read_text() == lock


def kill_in_the_middle(project, hub, by=signal.SIGKILL):
    """Start a download, end it once a part of the weights is on disk, and return how many bytes of them were kept."""
    child = subprocess.Popen(
        [sys.executable, "-m", "scaffolder", "download", REPO],
        cwd=project,
        env=environment(project, hub),
        stderr=subprocess.PIPE,
        text=True,
    )
    parts = project / "model-cache/acme/.tiny.partial/parts"
    deadline = time.monotonic() + 60
    while sum(path.stat().st_size for path in parts.glob("*")) < 500_000:
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child.send_signal(by)
    _, talk = child.communicate(timeout=30)
    # Small files may be under way beside the weights.
    return child.returncode, max(path.stat().st_size for path in parts.glob("*")), talk


@pytest.fixture
def stuck(hub):
    """The weights' first answer stands still in its middle until the test is over."""
    hub.stall[WEIGHTS] = 700_000
    yield hub
    hub.stall.clear()


def test_killed_download_goes_on_with_what_is_on_disk(project, stuck):
    code, kept, _ = kill_in_the_middle(project, stuck)
    assert code == -signal.SIGKILL
    assert nothing_published(project)
    stuck.stall.clear()
    stuck.bodies.clear()
    result = download(project, stuck, REPO)
    assert result.returncode == 0, result.stderr
    assert "is here already" in result.stderr
    assert is_whole(project)
    # Not a byte of what was kept is sent twice.
    assert stuck.bodies[WEIGHTS] == len(FILES[WEIGHTS]) - kept
    assert set(stuck.bodies) <= WANTED
    assert not (project / "model-cache/acme/.tiny.partial").exists()


def test_interrupted_download_says_so_and_goes_on(project, stuck):
    code, kept, talk = kill_in_the_middle(project, stuck, by=signal.SIGINT)
    assert code == 130
    assert "stopped" in talk
    stuck.stall.clear()
    stuck.bodies.clear()
    assert download(project, stuck, REPO).returncode == 0
    assert stuck.bodies[WEIGHTS] == len(FILES[WEIGHTS]) - kept


def test_part_of_another_commit_is_not_gone_on_with(project, stuck):
    kill_in_the_middle(project, stuck)
    stuck.stall.clear()
    changed = {**FILES, WEIGHTS: bytes(reversed(range(256))) * 4000}
    stuck.put(REPO, changed)
    assert download(project, stuck, REPO).returncode == 0
    assert is_whole(project, changed)


def test_part_that_was_spoiled_on_disk_is_fetched_anew(project, stuck):
    kill_in_the_middle(project, stuck)
    stuck.stall.clear()
    (part,) = [path for path in project.rglob(".tiny.partial/parts/*") if path.stat().st_size > 500_000]
    part.write_bytes(bytes(part.stat().st_size))
    assert download(project, stuck, REPO).returncode == 0
    assert is_whole(project)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 120 MB that is mounted for the test."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.name != "posix" or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small disk needs root")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=120m", "tmpfs", str(folder)], check=False).returncode != 0:
        pytest.skip("this machine mounts no tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def on_small_disk(project, small_disk):
    root = small_disk / "travel"
    root.mkdir()
    for name in ("scaffolder.toml", "fine-tuning", "gen-model"):
        source = project / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, root / name)
    return root


def test_too_little_room_is_told_before_anything_is_fetched(on_small_disk, hub):
    hub.put(REPO, {**FILES, WEIGHTS: bytes(40_000_000)})
    result = download(on_small_disk, hub, REPO)
    assert failed(result, on_small_disk, "not enough room", "40 MB are needed", code=4)
    assert not any("/resolve/" in request for request in hub.requests)


def test_disk_that_fills_up_while_fetching(on_small_disk, hub):
    other = on_small_disk / "other.bin"
    hub.put(REPO, {**FILES, WEIGHTS: bytes(3_000_000)})
    hub.faults.append(Fault(WEIGHTS, before=lambda: other.write_bytes(bytes(fill(on_small_disk)))))
    result = download(on_small_disk, hub, REPO)
    assert failed(result, on_small_disk, "the disk is full", "free some space", code=4)
    other.unlink()
    assert download(on_small_disk, hub, REPO).returncode == 0
    assert len(files_of(on_small_disk)[WEIGHTS]) == 3_000_000


def fill(folder):
    """Return how many bytes leave room for one more megabyte in a folder's disk."""
    return shutil.disk_usage(folder).free - 1_000_000


def test_file_that_grows_beyond_what_the_system_allows(project, hub):
    # A disk that refuses to take more, where no disk of one's own can be mounted.
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))

    result = subprocess.run(
        [sys.executable, "-m", "scaffolder", "download", REPO],
        cwd=project,
        env=environment(project, hub),
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert failed(result, project, "the disk is full", code=4)
    assert download(project, hub, REPO).returncode == 0
    assert is_whole(project)


def test_folder_that_cannot_be_written(project, hub):
    (project / "model-cache" / "acme").write_text("a file where a folder belongs")
    result = download(project, hub, REPO)
    assert result.returncode == 4
    assert "cannot write the model" in result.stderr


def test_commit_of_the_hub_is_the_locked_one(project, hub):
    download(project, hub, REPO)
    assert f'commit = "{COMMIT}"' in (project / "model-cache/models.lock").read_text()
