import json
import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY

HEAVY = (
    "azure", "copier", "datasets", "huggingface_hub", "olive", "onnx", "onnxruntime", "onnxruntime_genai", "peft",
    "pydantic", "torch", "transformers", "yaml",
)  # fmt: skip


def registered_commands():
    from scaffolder.cli.app import app

    return [entry.name for entry in (*app.registered_commands, *app.registered_groups)]


def sub_commands():
    """Command names by the name of their group."""
    from scaffolder.cli.app import app

    return {
        group.name: [command.name for command in group.typer_instance.registered_commands]
        for group in app.registered_groups
    }


def test_help_loads_nothing_heavy():
    program = (
        "import json, sys\n"
        "from scaffolder.cli import main\n"
        "code = main(['--help'])\n"
        "print('MODULES', json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))\n"
        "sys.exit(code)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = json.loads(result.stdout.partition("MODULES ")[2])
    assert "scaffolder" in loaded
    assert set(loaded) & set(HEAVY) == set()


def test_every_command_has_help(cli):
    for name in registered_commands():
        result = cli(name, "--help")
        assert result.code == 0
        assert name in result.out


def test_every_sub_command_has_help(cli):
    assert sub_commands()
    for group, names in sub_commands().items():
        for name in names:
            result = cli(group, name, "--help")
            assert result.code == 0
            assert f"{group} {name}" in result.out


def test_no_argument_shows_help_and_is_a_usage_error(cli):
    result = cli()
    assert result.code == 2
    assert "Commands" in result.out + result.err


def test_unknown_command_suggests_the_nearest(cli):
    result = cli("rnu")
    assert result.code == 2
    assert "run" in result.err


def test_version_is_the_package_version(cli):
    wanted = re.search(r'^version = "(.+)"', (REPOSITORY / "pyproject.toml").read_text(), re.MULTILINE)[1]
    assert cli("--version").out.strip() == f"scaffolder {wanted}"


def test_readme_lists_exactly_the_registered_commands():
    readme = (REPOSITORY / "README.md").read_text()
    table = readme.partition("## Commands")[2].partition("\n## ")[0]
    listed = [row.partition("`")[2].split()[0].strip("`") for row in table.splitlines() if row.startswith("| `")]
    assert listed == registered_commands()
    for group, names in sub_commands().items():
        [row] = [row for row in table.splitlines() if row.startswith((f"| `{group} ", f"| `{group}`"))]
        assert [name for name in names if name not in row] == []


def test_readme_module_map_is_the_package():
    readme = (REPOSITORY / "README.md").read_text()
    table = readme.partition("## The code")[2].partition("\n## ")[0]
    listed = {row.split("`")[1].rstrip("/") for row in table.splitlines() if row.startswith("| `")}
    package = REPOSITORY / "scaffolder"
    modules = {path.stem for path in package.glob("*.py")} | {
        path.name for path in package.iterdir() if (path / "__init__.py").is_file()
    }
    assert listed == modules - {"__init__", "__main__"}


def test_readme_commands_exist():
    readme = (REPOSITORY / "README.md").read_text()
    used = set(re.findall(r"scaffolder ([a-z][a-z-]+)", "\n".join(re.findall(r"```sh\n(.*?)```", readme, re.DOTALL))))
    assert used <= set(registered_commands())
    assert used


def test_readme_versions_are_the_lock():
    from scaffolder import presets

    readme = (REPOSITORY / "README.md").read_text()
    table = readme.partition("## Versions")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines() if row.startswith("| ")]
    listed = {row[0]: row[1] for row in rows[1:] if not row[0].startswith("-")}
    lock = presets.lock("cpu")
    assert len(listed) >= 4
    assert listed == {name: lock[name] for name in listed}


def test_documents_fit_their_limits():
    contributing = (REPOSITORY / "CONTRIBUTING.md").read_text().splitlines()
    assert len(contributing) <= 80
    assert Path(REPOSITORY / "LICENSE").read_text().startswith("MIT License")
