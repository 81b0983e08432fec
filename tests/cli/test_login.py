import json

from tests.hub_client import command
from tests.hub_server import TOKEN


def test_login_hands_the_token_to_the_hubs_own_store(project, hub):
    result = command(project, hub, "login", "--token", "-", stdin=TOKEN + "\n")
    assert result.returncode == 0, result.stderr
    assert "logged in as ada" in result.stderr
    assert TOKEN not in result.stdout + result.stderr
    assert (project / ".hf-home" / "token").read_text() == TOKEN
    result = command(project, hub, "whoami", "--json")
    assert json.loads(result.stdout) == {"name": "ada", "organisations": ["acme"], "endpoint": hub.url}


def test_wrong_token_is_refused(project, hub):
    result = command(project, hub, "login", "--token", "-", stdin="hf_wrong\n")
    assert result.returncode == 1
    assert "hf_wrong" not in result.stdout + result.stderr
    assert not (project / ".hf-home" / "token").exists()


def test_nobody_is_logged_in(project, hub):
    result = command(project, hub, "whoami")
    assert result.returncode == 1
    assert "not logged in" in result.stderr
    assert "scaffolder login" in result.stderr


def test_empty_standard_input_is_no_token(project, hub):
    result = command(project, hub, "login", "--token", "-", stdin="\n")
    assert result.returncode == 2
    assert "found no token" in result.stderr


def test_hub_that_offers_no_login_of_its_own_says_how_to_bring_a_token(project, hub):
    result = command(project, hub, "login")
    assert result.returncode == 1
    assert "error: not logged in" in result.stderr
    assert "scaffolder login --token -" in result.stderr


def test_without_a_hub(project):
    result = command(project, None, "whoami", HF_TOKEN=TOKEN)
    assert result.returncode == 4
    assert "the hub cannot be reached" in result.stderr
