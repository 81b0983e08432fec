"""Conversations for real, on a tiny model, through a terminal and through a pipe."""

import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import MODEL
from tests.tiny_models import make_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_tiny_model("llama-chatml", tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def with_model(project, model):
    folder = project / MODEL
    folder.parent.mkdir(parents=True)
    folder.symlink_to(model)
    return project


@pytest.fixture
def say(cli, with_model, monkeypatch):
    """Talk through a pipe."""

    def talk(*lines, options=()):
        monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines) + "\n"))
        return cli("chat", "--model", "base", "--max-new-tokens", "8", *options)

    return talk


pytestmark = pytest.mark.olive


def test_the_model_remembers_until_it_is_reset(say):
    result = say("What is rain?", "And snow?", "/reset", "What is rain?", options=["--json"])
    assert result.code == 0, result.err
    first, second, third = [json.loads(line) for line in result.out.splitlines()]
    assert first["prompt"] == third["prompt"] == "What is rain?"
    assert first["text"] == third["text"]
    assert second["prompt_tokens"] > first["prompt_tokens"] + 8
    assert third["prompt_tokens"] == first["prompt_tokens"]


def test_conversation_is_saved_as_training_data(say, with_model):
    result = say("What is rain?", "/save datasets/mine.jsonl", "/quit", "never asked")
    assert result.code == 0, result.err
    [row] = [json.loads(line) for line in (with_model / "datasets" / "mine.jsonl").read_text().splitlines()]
    assert [message["role"] for message in row["messages"]] == ["user", "assistant"]
    assert row["messages"][1]["content"] == result.out.removesuffix("\n")


def test_help_lists_every_command(say):
    result = say("/help")
    for command in ("/adapter", "/reset", "/save", "/help", "/quit"):
        assert command in result.err
    assert result.out == ""


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/rest", "did you mean `/reset`?"),
        ("/adapter lora", "no adapter `lora`"),
        ("/save", "needs a file's name"),
        ("/save x.jsonl", "nothing to save yet"),
    ],
)
def test_a_wrong_command_is_explained(say, line, message):
    result = say(line)
    assert result.code == 2
    assert message in result.err


def test_longer_than_the_context_is_an_error_with_the_numbers(say):
    result = say("word " * 900)
    assert result.code == 1
    assert "512" in result.err
    assert "/reset" in result.err


def test_answers_are_cut_where_the_context_ends(cli, with_model):
    result = cli("generate", "word " * 220, "-m", "base", "--json", "--max-new-tokens", "500")
    assert result.code == 0, result.err
    answer = json.loads(result.out)
    assert answer["prompt_tokens"] + answer["tokens"] <= 512


def test_questions_of_a_file_are_answered_in_order(cli, with_model):
    file = with_model / "questions.jsonl"
    rows = [{"prompt": "What is rain?"}, {"messages": [{"role": "user", "content": "What is snow?"}]}]
    file.write_text("\n".join(json.dumps(row) for row in rows) + "\nWho climbs the stair?\n")
    result = cli("generate", "--file", file, "-m", "base", "--max-new-tokens", "4", "--json")
    assert result.code == 0, result.err
    answers = [json.loads(line) for line in result.out.splitlines()]
    assert [answer["prompt"] for answer in answers] == ["What is rain?", rows[1]["messages"], "Who climbs the stair?"]
    alone = cli("generate", "What is snow?", "-m", "base", "--max-new-tokens", "4", "--json")
    assert json.loads(alone.out)["text"] == answers[1]["text"]


def test_a_question_that_cannot_be_answered_leaves_the_others(cli, with_model):
    file = with_model / "questions.txt"
    file.write_text(f"What is rain?\n{'word ' * 900}\nWhat is snow?\n")
    result = cli("generate", "--file", file, "-m", "base", "--max-new-tokens", "4", "--json")
    assert result.code == 3
    answers = [json.loads(line) for line in result.out.splitlines()]
    assert [answer["text"] is None for answer in answers] == [False, True, False]
    assert "512" in answers[1]["refused"]
    assert "question 2: " in result.err
    assert "1 of 3 questions were not answered" in result.err


def test_an_empty_question_is_none(cli, project):
    assert cli("generate", " ").code == 2


def test_system_message_is_part_of_the_prompt(cli, with_model):
    def tokens(*options):
        return json.loads(cli("generate", "Hi", "-m", "base", "--max-new-tokens", "1", "--json", *options).out)[
            "prompt_tokens"
        ]

    assert tokens("--system", "Answer with one word") != tokens()


def test_no_question_names_the_ways_to_ask(cli, with_model, monkeypatch):
    missing = cli("generate", "--file", "nowhere.txt")
    assert missing.code == 2
    assert "nowhere.txt" in missing.err


@pytest.mark.parametrize("option", ["--temperature=nan", "--temperature=inf", "--top-p=nan", f"--seed={2**31}"])
def test_sampling_takes_only_numbers_that_a_model_can_use(cli, project, option):
    result = cli("generate", "Hi", option)
    assert result.code == 2
    assert f"Invalid value for '{option.partition('=')[0]}'" in result.err


def read_until(terminal, text, seconds=90):
    seen, end = "", time.monotonic() + seconds
    while text not in seen:
        assert select.select([terminal], [], [], max(0.0, end - time.monotonic()))[0], seen
        try:
            seen += os.read(terminal, 4096).decode(errors="replace")
        except OSError:
            pytest.fail(f"the chat ended: {seen}")
    return seen


def workers_of(pid):
    import psutil

    return [child for child in psutil.Process(pid).children(recursive=True) if "worker" in " ".join(child.cmdline())]


def test_interrupt_ends_the_answer_and_the_chat_goes_on(with_model):
    """Ctrl-C in a terminal; then the process is killed, and the worker ends with it."""
    ours, theirs = pty.openpty()
    command = [
        sys.executable,
        "-m",
        "scaffolder",
        "chat",
        "-m",
        "base",
        "--max-new-tokens",
        "400",
        "--temperature",
        "5",
    ]
    chat = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    try:
        read_until(ours, "> ")
        [worker] = workers_of(chat.pid)
        os.write(ours, b"What is rain?\n")
        read_until(ours, "\n")
        os.read(ours, 1)  # the answer begins
        chat.send_signal(signal.SIGINT)
        shown = read_until(ours, "tokens/s")
        assert int(re.search(r"\((\d+) tokens", shown)[1]) < 400
        if "> " not in shown.split("tokens/s")[1]:
            read_until(ours, "> ")
        os.write(ours, b"/adapter\n")
        assert "there are: none" in read_until(ours, "there are: none")
        assert worker.is_running()
        chat.kill()
        chat.wait(10)
        worker.wait(10)
        assert not worker.is_running()
    finally:
        chat.kill()
        chat.wait()
        os.close(ours)
