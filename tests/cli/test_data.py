import json
import subprocess
import sys

import pytest

from tests.conftest import MODEL, add_tiny_model

PAIR = 'prompt_column = "prompt"\nresponse_column = "response"'


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def pairs(count, start=0):
    """Examples that have nothing in common."""
    words = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "haven")
    words += ("inlet", "joker", "knoll", "lemon", "mango", "nylon", "ocean", "pearl")
    found = []
    for index in range(start, start + count):
        said = " ".join(f"{words[(index * step + step) % 16]}{index * 7919 % 1000}" for step in range(1, 12))
        found.append({"prompt": f"Say {index * 31} {said[:20]}?", "response": said})
    return found


def checked(cli, *arguments, code=None):
    result = cli("data", "check", *arguments, "--json")
    assert code is None or result.code == code, result.err
    report = json.loads(result.out)
    found = {}
    for finding in report["findings"]:
        found.setdefault(finding["kind"], []).extend(
            (finding["file"], place["line"], place["message"]) for place in finding["places"]
        )
    return report, found


@pytest.mark.usefixtures("project")
class TestCheck:
    def test_shipped_examples_have_nothing_wrong(self, cli):
        result = cli("data", "check")
        assert result.code == 0
        assert "454 rows checked" in result.err
        assert "0 errors, 0 warnings" in result.err
        assert "lengths in tokens are not known: the model is not downloaded" in result.err

    def test_everything_is_told_at_once_with_its_line(self, cli, project):
        rows = pairs(40)
        rows[3]["response"] = "   "
        rows[4] = {"question": "x", "response": "y"}
        rows[5]["response"] += " <|im_end|> and on"
        rows[6]["response"] += " ask jane.doe@contoso.com or 4111 1111 1111 1234 or 4539578763621486"
        rows[7]["response"] += " with AKIAIOSFODNN7ABCDEFG"
        rows[8]["response"] += " IBAN DE89 3704 0044 0532 0130 00 and +49 30 901820"
        rows[9]["response"] += " damaged \ufffd and \u0000"
        rows[20] = {"prompt": rows[19]["prompt"].upper(), "response": rows[19]["response"] + "!"}
        rows[30] = {"prompt": rows[29]["prompt"], "response": rows[29]["response"] + " too"}
        write(project / "datasets" / "train.jsonl", rows)
        write(project / "datasets" / "eval.jsonl", [*pairs(3, 100), rows[11], {**rows[12], "response": "Other."}])
        _, found = checked(cli, code=2)
        train, evaluation = "datasets/train.jsonl", "datasets/eval.jsonl"
        assert found["no-text"] == [(train, 4, "column `response` is empty")]
        assert found["missing-column"] == [(train, 5, "missing column `prompt`; this row has `question`, `response`")]
        assert found["special-token"] == [(train, 6, "the text holds the special token <|im_end|>")]
        assert [line for _, line, _ in found["secret"]] == [8]
        assert [(line, message.split(":")[0]) for _, line, message in found["personal"]] == [
            (7, "looks like an e-mail address"),
            (7, "looks like a card number"),
            (9, "looks like an account number (IBAN)"),
            (9, "looks like a telephone number"),
        ]
        assert [line for _, line, _ in found["characters"]] == [10, 10]
        assert found["duplicate"] == [(train, 21, "the same as line 20")]
        assert [(line, message.split(" (")[0]) for _, line, message in found["near-duplicate"]] == [
            (31, "nearly the same as line 30")
        ]
        assert found["in-both"] == [(evaluation, 4, f"the same as {train}:12")]
        assert found["prompt-in-both"] == [(evaluation, 5, f"the same question as {train}:13")]

    def test_secrets_are_never_printed_whole(self, cli, project):
        secret = "ghp_" + "a1B2c3D4e5F6g7H8i9J0" * 2
        write(project / "datasets" / "train.jsonl", [{"prompt": "Key?", "response": f"It is {secret}"}])
        result = cli("data", "check")
        assert "looks like a GitHub token" in result.out
        assert secret not in result.out + result.err

    def test_findings_are_capped_and_counted(self, cli, project):
        write(project / "datasets" / "train.jsonl", [{"prompt": "a", "response": ""}] * 50)
        result = cli("data", "check")
        assert result.code == 2
        assert result.out.count("column `response` is empty") == 10
        assert "datasets/train.jsonl: 40 more of this kind (no-text)" in result.out
        assert "50 errors" in result.err

    def test_strict_turns_warnings_into_failure(self, cli, project):
        write(project / "datasets" / "train.jsonl", [*pairs(4), *pairs(1)])
        assert cli("data", "check").code == 0
        assert cli("data", "check", "--strict").code == 2

    def test_what_is_known_is_not_checked_again_until_it_changes(self, cli, tiny_project):
        assert ", known from before" not in cli("data", "check").err
        assert ", known from before" in cli("data", "check").err
        assert ", known from before" not in cli("data", "check", "--fresh").err
        path = tiny_project / "datasets" / "train.jsonl"
        path.write_text(path.read_text() + '{"prompt": "one more"}\n')
        result = cli("data", "check")
        assert result.code == 2
        assert "datasets/train.jsonl:17: missing column `response`" in result.out

    def test_conversations_are_judged_by_role(self, cli, project):
        manifest = project / "scaffolder.toml"
        manifest.write_text(manifest.read_text().replace(PAIR, 'messages_column = "messages"'))
        user, answer = {"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Yes."}
        path = project / "datasets" / "train.jsonl"
        write(path, [{"messages": found} for found in ([user, answer], [user], [user, user, answer], [answer, user])])
        _, found = checked(cli, path, code=2)
        assert [line for _, line, _ in found["roles"]] == [2, 4, 4]
        assert [line for _, line, _ in found["order"]] == [3]

    def test_tables_are_checked_too(self, cli, project):
        path = project / "datasets" / "more.csv"
        path.write_text('prompt;response\n"What; is it?";"Two\nlines"\nWhy?;\n')
        _, found = checked(cli, path, code=2)
        assert found["no-text"] == [("datasets/more.csv", 4, "column `response` is empty")]

    def test_missing_and_unknown_files_are_usage_errors(self, cli, project):
        (project / "notes.pdf").write_bytes(b"x")
        for name, words in (("nothing.jsonl", "missing dataset nothing.jsonl"), ("notes.pdf", "unknown format")):
            result = cli("data", "check", name)
            assert result.code == 2
            assert words in result.err

    def test_an_interpreter_without_numpy_checks_what_it_can(self, cli, project, tmp_path, monkeypatch):
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
        monkeypatch.setenv("SCAFFOLDER_PYTHON", str(tmp_path / "bare" / "bin" / "python"))
        write(project / "datasets" / "train.jsonl", [*pairs(2), {"prompt": "a", "response": ""}])
        result = cli("data", "check")
        assert result.code == 2
        assert "datasets/train.jsonl:3: column `response` is empty" in result.out
        assert "duplicates were not looked for: numpy is not installed" in result.err


@pytest.mark.olive
@pytest.mark.usefixtures("tiny_project")
class TestWithModel:
    def test_rows_beyond_the_sequence_are_told_with_what_is_cut(self, cli, tiny_project):
        config = tiny_project / "fine-tuning" / "lora.json"
        config.write_text(config.read_text().replace('"max_seq_len": 512', '"max_seq_len": 128'))
        write(
            tiny_project / "datasets" / "train.jsonl",
            [
                {"prompt": "Hi?", "response": "Yes."},
                {"prompt": "Hi?", "response": "No " * 150},
                {"prompt": "Why " * 250, "response": "x"},
            ],
        )
        report, found = checked(cli, code=0)
        [(_, line, message)] = found["cut"]
        assert line == 2
        assert "are cut" in message
        assert [line for _, line, _ in found["untrained"]] == [3]
        lengths = report["files"][0]["lengths"]
        assert lengths["cut_rows"] == 2
        assert lengths["kept"] == lengths["tokens"] - lengths["cut_tokens"]
        assert sum(bar[2] for bar in lengths["histogram"]) == 3

    def test_run_stops_on_errors_before_anything_starts(self, cli, tiny_project):
        path = tiny_project / "datasets" / "train.jsonl"
        path.write_text(path.read_text() + '{"prompt": "a", "response": 3}\n')
        result = cli("run", "fine-tuning")
        assert result.code == 2
        assert "datasets/train.jsonl:17: column `response` is a number, no text" in result.err
        assert not list(tiny_project.glob("fine-tuning/runs/*"))

    def test_run_warns_of_what_both_files_hold(self, cli, tiny_project):
        train, evaluation = (tiny_project / "datasets" / f"{name}.jsonl" for name in ("train", "eval"))
        evaluation.write_text(evaluation.read_text() + train.read_text().split("\n")[2] + "\n")
        result = cli("run", "fine-tuning", "--dry-run")
        assert result.code == 0
        assert "datasets/eval.jsonl:5: the same as datasets/train.jsonl:3" in result.err

    def test_preview_is_what_training_gets(self, cli, tiny_project):
        result = cli("data", "preview", "2", "--json")
        assert result.code == 0
        rows = json.loads(result.out)
        examples = read(tiny_project / "datasets" / "train.jsonl")
        assert len(rows) == 2
        for row, example in zip(rows, examples, strict=False):
            learnt = "".join(run["text"] for run in row["runs"] if run["learnt"])
            asked = "".join(run["text"] for run in row["runs"] if not run["learnt"])
            assert learnt.startswith(example["response"])
            assert example["prompt"] in asked
            assert row["count"] == sum(len(run["ids"]) for run in row["runs"])
        text = cli("data", "preview", "1").out
        assert f"⟦{examples[0]['response']}<|im_end|>⟧" in text
        assert ":1  " in text

    def test_preview_tells_why_a_row_is_left_out(self, cli, tiny_project):
        write(tiny_project / "datasets" / "train.jsonl", [{"prompt": "Why " * 900, "response": "x"}])
        result = cli("data", "preview")
        assert result.code == 0
        assert "left out: no row has a token to learn within max_seq_len=512" in result.out

    def test_stats_count_what_training_counts(self, cli, trained):
        result = cli("data", "stats", "--json")
        found = json.loads(result.out)
        assert found["rows"] == 16
        assert (found["batch"], found["steps_per_epoch"], found["steps"], found["epochs"]) == (2, 8, 4, 0.5)
        [record] = trained.glob("fine-tuning/adapters/lora/run.json")
        seen = json.loads(record.read_text())["training"]["tokens"]
        # Half an epoch of rows of much the same length.
        assert abs(found["seen_tokens"] - seen) < 0.1 * seen
        lora = next(entry for entry in found["methods"] if entry["method"] == "lora")
        assert lora["tokens_per_second"] > 0
        assert lora["measured"]
        others = {entry["method"]: entry for entry in found["methods"] if entry["method"] != "lora"}
        assert others.keys() >= {"qlora", "dora"}
        for other in others.values():
            assert not other["measured"]
            assert other["seconds"] > 0
            assert other["memory"] > 10**8
        assert lora["memory"] > 10**8
        assert "blocks of 512" in cli("data", "stats").out


@pytest.mark.usefixtures("project")
class TestImport:
    def test_shapes_are_recognised_and_said(self, cli, project):
        sources = {
            "alpaca.json": (
                [
                    {"instruction": "Add", "input": "1 and 2", "output": "3"},
                    {"instruction": "Hi", "input": "", "output": "Yo"},
                ],
                [{"prompt": "Add\n\n1 and 2", "response": "3"}, {"prompt": "Hi", "response": "Yo"}],
            ),
            "sharegpt.json": (
                [{"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Yo"}]}],
                [{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]}],
            ),
            "instruction.json": ([{"question": "Why?", "answer": "So."}], [{"prompt": "Why?", "response": "So."}]),
            "wrapped.json": (
                {"version": "1.1", "data": [{"question": "Why?", "answer": "So."}]},
                [{"prompt": "Why?", "response": "So."}],
            ),
            "text.json": ([{"text": "Once upon a time."}], [{"text": "Once upon a time."}]),
        }
        for name, (rows, wanted) in sources.items():
            (project / name).write_text(json.dumps(rows))
            result = cli("data", "import", name, "-o", f"datasets/{name}l")
            assert result.code == 0, result.err
            shape = {"wrapped": "instruction"}.get(name.removesuffix(".json"), name.removesuffix(".json"))
            assert f"recognised as {shape}" in result.err
            assert read(project / "datasets" / f"{name}l") == wanted
            assert ("this project reads `prompt` and `response`" in result.err) == ("prompt" not in wanted[0])
            other_form = "scaffolder update --answers -d data_format=messages" in result.err
            assert other_form == (shape == "sharegpt")

    def test_column_to_keep_that_no_row_has_is_refused(self, cli, project):
        write(project / "mine.jsonl", pairs(3))
        result = cli("data", "import", "mine.jsonl", "-o", "datasets/mine.jsonl", "--keep", "topc")
        assert result.code == 1
        assert "no row has the column `topc`" in result.err
        assert not (project / "datasets" / "mine.jsonl").exists()

    @pytest.mark.parametrize(
        ("encoding", "said"), [("utf-16", "utf-16"), ("utf-8-sig", ""), ("cp1252", "cp125"), ("utf-32", "utf-32")]
    )
    def test_encodings_are_found_out(self, cli, project, encoding, said):
        text = "prompt,response\n" + "".join(
            f'"Où est le café {n}?","À côté, près de la vieille église, n° {n}."\n' for n in range(50)
        )
        (project / "all.csv").write_bytes(text.encode(encoding))
        result = cli("data", "import", "all.csv", "-o", "datasets/all.jsonl")
        assert result.code == 0, result.err
        assert (f"read as {said}" in result.err) == bool(said)
        rows = read(project / "datasets" / "all.jsonl")
        assert len(rows) == 50
        assert rows[7] == {"prompt": "Où est le café 7?", "response": "À côté, près de la vieille église, n° 7."}

    def test_tables_of_arrow_and_a_folder_of_text(self, cli, project):
        import pyarrow as pa
        import pyarrow.parquet

        table = pa.Table.from_pylist([{"q": "Why?", "a": "So.", "topic": 3}] * 5)
        folder = project / "texts"
        (folder / "deep").mkdir(parents=True)
        (folder / "one.txt").write_bytes("Grüße".encode("utf-16"))
        (folder / "deep" / "two.md").write_text("Two")
        (folder / "deep" / "picture.png").write_bytes(b"\x89PNG")
        pyarrow.parquet.write_table(table, project / "all.parquet")
        choose = ("--prompt", "q", "--response", "a", "--keep", "topic")
        assert cli("data", "import", "all.parquet", "-o", "datasets/p.jsonl", *choose).code == 0
        assert read(project / "datasets" / "p.jsonl") == [{"prompt": "Why?", "response": "So.", "topic": 3}] * 5
        assert cli("data", "import", "texts", "-o", "datasets/t.jsonl", "--keep", "source").code == 0
        assert read(project / "datasets" / "t.jsonl") == [
            {"text": "Two", "source": "deep/two.md"},
            {"text": "Grüße", "source": "one.txt"},
        ]

    def test_nothing_is_overwritten_unasked(self, cli, project):
        before = (project / "datasets" / "train.jsonl").read_text()
        write(project / "mine.jsonl", pairs(3))
        result = cli("data", "import", "mine.jsonl")
        assert result.code == 2
        assert "datasets/train.jsonl would be overwritten" in result.err
        assert (project / "datasets" / "train.jsonl").read_text() == before
        assert cli("data", "import", "mine.jsonl", "--force").code == 0
        assert read(project / "datasets" / "train.jsonl") == pairs(3)
        assert (project / "datasets" / "train.jsonl.old").read_text() == before

    def test_what_a_killed_import_left_goes_with_the_next_one(self, cli, project):
        ended = subprocess.Popen([sys.executable, "-c", ""])
        ended.wait()
        left, other = (project / "datasets" / f".{name}.jsonl" for name in (f"mine.{ended.pid}", "mine.notes"))
        for path in (left, other):
            path.write_text("half")
        write(project / "mine.jsonl", pairs(3))
        assert cli("data", "import", "mine.jsonl", "-o", "datasets/mine.jsonl").code == 0
        assert not left.exists()
        assert other.exists()
        assert not list((project / ".scaffolder" / "data").glob("tmp-*"))

    def test_rows_that_cannot_be_taken_are_told(self, cli, project):
        write(project / "mine.jsonl", [*pairs(2), {"prompt": 3, "response": "x"}, {"other": 1}])
        result = cli("data", "import", "mine.jsonl", "-o", "datasets/mine.jsonl")
        assert result.code == 0
        assert "2 rows, 2 left out" in result.err
        assert "left out: mine.jsonl:4: no known shape; this row has the columns `other`" in result.err

    def test_what_does_not_exist_and_what_holds_nothing(self, cli, project):
        assert cli("data", "import", "nowhere.csv").code == 2
        (project / "numbers.csv").write_text("a,b\n1,2\n")
        result = cli("data", "import", "numbers.csv", "-o", "datasets/n.jsonl")
        assert result.code == 1
        assert "nothing in numbers.csv can be taken as an example" in result.err
        assert not (project / "datasets" / "n.jsonl").exists()
        assert "switched off by HF_HUB_OFFLINE" in cli("data", "import", "acme/questions", "-o", "datasets/n.jsonl").err


@pytest.mark.usefixtures("project")
class TestSplit:
    def test_split_writes_both_files_and_keeps_the_old_ones(self, cli, project):
        write(project / "datasets" / "all.jsonl", pairs(200))
        result = cli("data", "split", "datasets/all.jsonl", "--eval", "10%")
        assert result.code == 2
        assert "would be overwritten" in result.err
        result = cli("data", "split", "datasets/all.jsonl", "--eval", "10%", "--force")
        assert result.code == 0, result.err
        train, evaluation = (read(project / "datasets" / f"{name}.jsonl") for name in ("train", "eval"))
        assert len(train) + len(evaluation) == 200
        assert 18 <= len(evaluation) <= 22
        assert sorted([*train, *evaluation], key=str) == sorted(pairs(200), key=str)
        assert len(read(project / "datasets" / "train.jsonl.old")) == 379

    def test_rows_appended_later_move_nothing(self, cli, project):
        path = project / "datasets" / "all.jsonl"
        write(path, pairs(100))
        assert cli("data", "split", path, "--force").code == 0
        before = [read(project / "datasets" / f"{name}.jsonl") for name in ("train", "eval")]
        write(path, pairs(160))
        assert cli("data", "split", path, "--force").code == 0
        after = [read(project / "datasets" / f"{name}.jsonl") for name in ("train", "eval")]
        assert [rows[: len(old)] for rows, old in zip(after, before, strict=True)] == before

    def test_groups_stay_together_and_strata_keep_their_share(self, cli, project):
        path = project / "datasets" / "all.jsonl"
        write(path, [{**row, "user": f"u{n % 40}", "topic": n % 2} for n, row in enumerate(pairs(400))])
        assert cli("data", "split", path, "--eval", "0.2", "--group", "user", "--force").code == 0
        users = [{row["user"] for row in read(project / "datasets" / f"{n}.jsonl")} for n in ("train", "eval")]
        assert users[0] | users[1] == {f"u{n}" for n in range(40)}
        assert not users[0] & users[1]
        assert cli("data", "split", path, "--eval", "0.2", "--by", "topic", "--force").code == 0
        topics = [row["topic"] for row in read(project / "datasets" / "eval.jsonl")]
        assert abs(topics.count(0) - 40) <= 2
        assert abs(topics.count(1) - 40) <= 2

    def test_what_cannot_be_split_is_refused_with_its_lines(self, cli, project):
        path = project / "datasets" / "all.jsonl"
        write(path, [*pairs(3), {"prompt": "x"}])
        before = (project / "datasets" / "train.jsonl").read_text()
        result = cli("data", "split", path, "--force")
        assert result.code == 1
        assert "datasets/all.jsonl:4: missing column `response`" in result.err
        assert (project / "datasets" / "train.jsonl").read_text() == before
        for wrong in ("0", "100%", "many"):
            assert cli("data", "split", path, "--eval", wrong, "--force").code == 2
        assert cli("data", "split", "datasets/train.jsonl", "--force").code == 2


def test_data_works_only_in_a_project(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in (["check"], ["preview"], ["stats"], ["split", "x.jsonl"], ["import", "x.jsonl"]):
        result = cli("data", *command)
        assert result.code == 2
        assert "no scaffolder.toml here" in result.err


def test_model_that_is_not_there_is_named(cli, project):
    result = cli("data", "preview")
    assert result.code == 2
    assert f"missing model {MODEL}" in result.err
    assert cli("data", "stats").code == 2
    add_tiny_model(project)
    result = cli("data", "stats")
    assert result.code == 0
    rows = [line.split() for line in result.out.splitlines() if line.endswith("an estimate")]  # nothing has run yet
    assert {"lora", "qlora", "dora"} <= {row[0] for row in rows}
    assert "unknown" not in result.out
