"""The shipped template, as several commands that start together put it in its place."""

import os
import subprocess
import sys

from scaffolder.git import Repository

PUT = "from scaffolder.templating import shipped_template; print(*shipped_template())"


def test_commands_that_start_together_do_not_disturb_each_other(tmp_path):
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / ".cache")}
    started = [
        subprocess.Popen([sys.executable, "-c", PUT], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(6)
    ]
    ended = [process.communicate(timeout=120) for process in started]
    assert {(process.returncode, error.decode()) for process, (_, error) in zip(started, ended, strict=True)} == {
        (0, "")
    }
    assert len({out for out, _ in ended}) == 1
    place = tmp_path / ".scaffolder"
    assert [path.name for path in place.iterdir()] == ["template.bundle"]
    Repository(tmp_path).run("clone", "--quiet", str(place / "template.bundle"), "clone")
