"""Mistakes in a target's table or in what a job is asked to do: all told before anything is submitted."""

import pytest

from tests.conftest import MODEL
from tests.remote.conftest import add_target

# Name: (table of the target, what the message has to hold).
BROKEN = {
    "no kind": ("processes = 2", "missing key `kind`"),
    "a kind that is none": ('kind = "slrum"', "unknown kind `slrum`; there are local, slurm, azureml"),
    "local: a key that is none": ('kind = "local"\nprocess = 2', "did you mean `processes`?"),
    "local: no process": ('kind = "local"\nprocesses = 0', "`targets.there.processes`"),
    "local: processes as text": ('kind = "local"\nprocesses = "2"', "`targets.there.processes`"),
    "local: true is no number": ('kind = "local"\nprocesses = true', "`targets.there.processes`"),
    "local: a partition": ('kind = "local"\npartition = "main"', "unknown key `targets.there.partition`"),
    "slurm: a key that is none": ('kind = "slurm"\npartitio = "main"', "did you mean `partition`?"),
    "slurm: nodes below one": ('kind = "slurm"\nnodes = -1', "`targets.there.nodes`"),
    "slurm: half a node": ('kind = "slurm"\nnodes = 1.5', "`targets.there.nodes`"),
    "slurm: a time that is none": ('kind = "slurm"\ntime = "two hours"', "`targets.there.time`"),
    "slurm: a second command in the partition": (
        'kind = "slurm"\npartition = "a; rm -r b"',
        "`targets.there.partition`",
    ),
    "slurm: an option as the account": ('kind = "slurm"\naccount = "--uid=0"', "`targets.there.account`"),
    "slurm: memory without a number": ('kind = "slurm"\nmemory = "much"', "`targets.there.memory`"),
    "slurm: a command among the modules": ('kind = "slurm"\nmodules = ["cuda && true"]', "`targets.there.modules.0`"),
    "slurm: two lines in one": ('kind = "slurm"\nsetup = ["a\\nb"]', "`targets.there.setup.0`"),
    "slurm: processes for cards that are not asked for": ('kind = "slurm"\nprocesses = "gpus"', "needs `gpus`"),
    "slurm: more processes than cards": ('kind = "slurm"\ngpus = 2\nprocesses = 4', "4 processes share 2 cards"),
    "slurm: a host without a folder": ('kind = "slurm"\nhost = "login"', "`host` and `folder` go together"),
    "slurm: a folder without a host": ('kind = "slurm"\nfolder = "work"', "`host` and `folder` go together"),
    "slurm: a host without its Python": ('kind = "slurm"\nhost = "login"\nfolder = "work"', "`host` needs `python`"),
    "slurm: an option as the host": (
        'kind = "slurm"\nhost = "-oProxyCommand=x"\nfolder = "work"\npython = "python3"',
        "`targets.there.host`",
    ),
    "slurm: an option that is scaffolder's": (
        'kind = "slurm"\noptions = {output = "x"}',
        "`output` is set by scaffolder",
    ),
    "slurm: an option with its dashes": ('kind = "slurm"\noptions = {"--qos" = "high"}', "`--qos` is no option"),
    "slurm: two lines in an option": ('kind = "slurm"\noptions = {qos = "a\\nb"}', "holds a line break"),
}

# Name: (table, arguments of `run`, exit code, what the message has to hold).
UNFIT = {
    "a batch that cannot be shared": (
        'kind = "local"\nprocesses = 3',
        ["fine-tuning"],
        2,
        "a batch of 8 rows (4 a pass, 2 passes) cannot be shared by 3 processes",
    ),
    "cards that are not there": ('kind = "local"\nprocesses = "gpus"', ["fine-tuning"], 2, "has no NVIDIA card"),
    "a result that is not there": ('kind = "local"', ["gen-model"], 2, "gen-model needs fine-tuning"),
    "all workflows": ('kind = "local"', ["all"], 2, "a job runs one workflow"),
    "an unknown workflow": ('kind = "local"', ["fine-tunin"], 2, "unknown workflow `fine-tunin`"),
    "a value where nothing is": ('kind = "local"', ["fine-tuning", "--set", "passes.lroa.r=4"], 2, "does not exist"),
    "a training argument that is none": (
        'kind = "local"',
        ["fine-tuning", "--set", "passes.lora.training_args.learning_rat=1"],
        2,
        "learning_rat",
    ),
    "a sweep over nothing": ('kind = "local"', ["fine-tuning", "--sweep", "r="], 2, "not of the form key=a,b,c"),
    "a sweep over what is not there": ('kind = "local"', ["fine-tuning", "--sweep", "rank=4,8"], 2, "has `rank`"),
    "--force": ('kind = "local"', ["fine-tuning", "--force"], 2, "--force and --on do not go together"),
}


def nothing_was_submitted(root):
    return not (root / "jobs").exists() and not (root / "fine-tuning/runs").exists()


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_table_is_refused(cli, project, name):
    table, words = BROKEN[name]
    add_target(project, table)
    result = cli("run", "fine-tuning", "--on", "there")
    assert result.code == 2
    assert words in result.err
    assert nothing_was_submitted(project)


def test_all_mistakes_of_a_table_are_told_at_once(cli, project):
    add_target(project, 'kind = "slurm"\npartitio = "main"\nnodes = 0\ntime = "soon"\n')
    err = cli("run", "fine-tuning", "--on", "there").err
    assert all(key in err for key in ("targets.there.partitio", "targets.there.nodes", "targets.there.time"))


@pytest.mark.olive
@pytest.mark.parametrize("name", UNFIT)
def test_what_cannot_run_is_refused(cli, unfit_project, name):
    table, arguments, code, words = UNFIT[name]
    add_target(unfit_project, table)
    result = cli("run", *arguments, "--on", "there")
    assert result.code == code
    assert words in result.err
    assert nothing_was_submitted(unfit_project)


@pytest.fixture
def unfit_project(remote_project, tmp_path, monkeypatch):
    import shutil

    root = tmp_path / "travel"
    shutil.copytree(remote_project, root)
    monkeypatch.chdir(root)
    return root


@pytest.mark.olive
def test_a_missing_model_is_told_before_anything_is_submitted(cli, unfit_project):
    import shutil

    shutil.rmtree(unfit_project / MODEL)
    result = cli("run", "fine-tuning", "--on", "local")
    assert result.code == 2
    assert "missing model" in result.err
    assert nothing_was_submitted(unfit_project)


def test_an_unknown_target_names_the_nearest(cli, project):
    add_target(project, 'kind = "local"', name="cluster")
    result = cli("run", "fine-tuning", "--on", "clutser")
    assert result.code == 2
    assert "did you mean `cluster`?" in result.err


@pytest.mark.parametrize("arguments", [["--sweep", "r=1,2"], ["--follow"]])
def test_options_of_jobs_need_a_target(cli, project, arguments):
    assert cli("run", "fine-tuning", *arguments).code == 2


@pytest.mark.olive
def test_a_dry_run_prints_the_script_and_leaves_nothing(cli, unfit_project):
    add_target(unfit_project, 'kind = "slurm"\npartition = "a100"\ngpus = 4\nnodes = 2\ntime = "1-00:00:00"\n'
               'modules = ["cuda/12.4"]\nsetup = ["export NCCL_DEBUG=WARN"]\ncontainer = "apptainer exec --nv m.sif"\n'
               'options = {qos = "high", exclusive = true, "gres-flags" = false}\n')  # fmt: skip
    result = cli("run", "fine-tuning", "--on", "there", "--dry-run", "--sweep", "r=4,8", "--set",
                 "passes.lora.training_args.gradient_accumulation_steps=8")  # fmt: skip
    assert result.code == 0, result.err
    script = result.out
    for line in ("--partition=a100", "--gpus-per-node=4", "--nodes=2", "--time=1-00:00:00", "--array=0-1", "--qos=high",
                 "--exclusive"):  # fmt: skip
        assert f"#SBATCH {line}\n" in script
    assert "gres-flags" not in script
    assert (
        "module load cuda/12.4\nexport NCCL_DEBUG=WARN\nsrun --kill-on-bad-exit=1 apptainer exec --nv m.sif " in script
    )
    assert nothing_was_submitted(unfit_project)
