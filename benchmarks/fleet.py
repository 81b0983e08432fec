"""A fleet's update and status against a loop of `copier update`, on equal projects, in one run.

    python benchmarks/fleet.py --counts 25 100 200 --copier 12

Every project has a name of its own, so that no two renderings are shared. The caches are empty before each fleet
is measured. `copier update` takes the same time for each project, so a sample of the projects stands for all; the
sample is split around the fleet's measurement, so that both see the same load of the machine. Processor seconds are
given beside: on a machine with other work they are what can be trusted.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
CONTENT = ("copier.yml", "template", "scaffolder/catalog", "CHANGELOG.md")
IDENTITY = ("-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "commit.gpgsign=false")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[25, 100, 200], help="sizes of the fleet")
    parser.add_argument("--copier", type=int, default=12, help="projects that `copier update` is timed with")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        os.environ.update(HOME=str(home), XDG_CACHE_HOME=str(home / "cache"), XDG_CONFIG_HOME=str(home / "config"))
        make_template(home / "template")
        make_projects(home, max(arguments.counts))
        measure(home, arguments.counts, arguments.copier)


def measure(home: Path, counts: list[int], sample: int) -> None:
    half = sample // 2
    start = processor_seconds()
    loop = copier_seconds(home, range(half))
    copier_work = processor_seconds() - start
    print(
        f"{'projects':>9} {'status':>9} {'update':>9} {'a project':>10} {'of processor':>13} {'peak of a process':>18}"
    )
    work = {}
    found = {}
    for count in counts:
        places = [f"projects/p{number}" for number in range(count)]
        shutil.rmtree(home / "cache", ignore_errors=True)
        status = timed(home, "fleet", "status", *places)
        shutil.rmtree(home / "cache", ignore_errors=True)
        start = processor_seconds()
        found[count] = timed(home, "fleet", "update", *places)
        work[count] = processor_seconds() - start
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000
        print(
            f"{count:>9} {status:>7.1f} s {found[count]:>7.1f} s {found[count] / count:>8.2f} s"
            f" {work[count] / count:>11.2f} s {peak:>15.0f} MB"
        )
        for place in places:
            git(home / place, "branch", "-q", "-D", "scaffolder/update-v1.1.0")
    start = processor_seconds()
    loop += copier_seconds(home, range(half, sample))
    copier_work += processor_seconds() - start
    each, work_each = loop / sample, copier_work / sample
    print(f"copier update: {each:.2f} s a project, {work_each:.2f} s of processor, over {sample} projects")
    for count, seconds in found.items():
        ratios = f"{each * count / seconds:.1f} times as fast, {work_each * count / work[count]:.1f} times less work"
        print(f"{count} projects: {ratios} than a loop of `copier update`")


def processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def timed(home: Path, *arguments: str) -> float:
    program = "import sys; from scaffolder.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, *arguments, "--json"]
    start = time.perf_counter()
    subprocess.run(
        command, cwd=home, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}
    )
    return time.perf_counter() - start


def copier_seconds(home: Path, numbers: range) -> float:
    start = time.perf_counter()
    for number in numbers:
        command = [sys.executable, "-m", "copier", "update", "--defaults", "--quiet"]
        subprocess.run(command, cwd=home / "projects" / f"p{number}", check=True, capture_output=True)
    taken = time.perf_counter() - start
    for number in numbers:
        git(home / "projects" / f"p{number}", "reset", "-q", "--hard")
        git(home / "projects" / f"p{number}", "clean", "-fdq")
    return taken


def make_template(folder: Path) -> None:
    for name in CONTENT:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        source = REPOSITORY / name
        shutil.copytree(source, folder / name) if source.is_dir() else shutil.copy(source, folder / name)
    git(folder, "init", "-q")
    release(folder, "v1.0.0")
    questions = folder / "copier.yml"
    questions.write_text(questions.read_text().replace("warmup_steps=3", "warmup_steps=5"))
    release(folder, "v1.1.0")


def release(folder: Path, tag: str) -> None:
    git(folder, "add", "-A", "-f")
    git(folder, "commit", "-q", "-m", tag)
    git(folder, "tag", tag)


def make_projects(home: Path, count: int) -> None:
    sys.path.insert(0, str(REPOSITORY))
    from scaffolder.generator import new_project

    for number in range(count):
        root = home / "projects" / f"p{number}"
        new_project(root, answers={}, template=str(home / "template"), ref="v1.0.0", defaults=True, git=False)
        git(root, "init", "-q")
        git(root, "add", "-A")
        git(root, "commit", "-q", "-m", "made")


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *IDENTITY, *arguments], cwd=folder, check=True, capture_output=True)


if __name__ == "__main__":
    main()
