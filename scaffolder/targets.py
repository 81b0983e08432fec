"""`[targets.NAME]` of scaffolder.toml: the other places where a workflow can run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Processes = Annotated[int, Field(ge=1)] | Literal["gpus"]
# Names that go into a script or a command line: no blanks, no quotes, and no option in disguise.
Word = Annotated[str, Field(pattern=r"^[\w.@+:/][\w.@+:/-]*$")]
Line = Annotated[str, Field(pattern=r"^[^\r\n]+$", description="one line")]
# Options that the script sets itself; a second value would win over them without a word.
_OWN_OPTIONS = {
    "account", "array", "chdir", "cpus-per-task", "error", "gpus-per-node", "job-name", "mem", "nodes", "ntasks",
    "ntasks-per-node", "open-mode", "output", "partition", "requeue", "test-only", "time", "wait", "wrap",
}  # fmt: skip


class _Target(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class LocalTarget(_Target):
    """`kind = "local"`: this machine, with several processes."""

    kind: Literal["local"]
    processes: Processes = Field(1, description='training processes; "gpus" for one a card')

    @property
    def nodes(self) -> int:
        """A machine is one node."""
        return 1


class SlurmTarget(_Target):
    """`kind = "slurm"`: a cluster, from its login node or over ssh.

    Without `host` the project has to lie on a disk that the cluster's nodes see under the same path; with it, what a
    job reads is copied into `folder` there.
    """

    kind: Literal["slurm"]
    partition: Word | None = None
    account: Word | None = None
    time: str | None = Field(
        None, pattern=r"^(\d+|\d+:\d{2}|(\d+-)?\d+(:\d{2}){0,2})$", description="minutes, H:MM:SS or D-HH:MM:SS"
    )
    nodes: Annotated[int, Field(ge=1)] = 1
    gpus: Annotated[int, Field(ge=1)] | None = Field(None, description="cards of each node")
    processes: Processes | None = Field(None, description="training processes on each node; else `gpus`, else 1")
    cpus: Annotated[int, Field(ge=1)] | None = Field(None, description="processors of each node")
    memory: str | None = Field(None, pattern=r"^\d+[KMGT]?$", description="of each node, such as 64G")
    modules: list[Word] = Field(default_factory=list, description="for `module load`")
    setup: list[Line] = Field(default_factory=list, description="shell lines before the job")
    container: Line | None = Field(
        None, description="what runs a command inside a container, such as `apptainer exec --nv image.sif`"
    )
    options: dict[str, str | int | bool] = Field(default_factory=dict, description="further options of sbatch")
    host: Word | None = Field(None, description="login node, as ssh knows it")
    folder: Word | None = Field(None, description="the project's place there; relative to the home folder, or absolute")
    python: Line | None = Field(None, description="interpreter there, relative to the project or absolute")

    @property
    def processes_per_node(self) -> int | Literal["gpus"]:
        """How many processes train on each node."""
        return self.processes or self.gpus or 1

    @field_validator("options")
    @classmethod
    def _foreign(cls, options: dict[str, str | int | bool]) -> dict[str, str | int | bool]:
        for name, value in options.items():
            if not name.replace("-", "").isalnum() or name.startswith("-"):
                raise ValueError(f"`{name}` is no option: its long name without the dashes is expected")
            if name in _OWN_OPTIONS:
                raise ValueError(f"`{name}` is set by scaffolder; a target's own keys say what it may be")
            if "\n" in str(value):
                raise ValueError(f"`{name}` holds a line break")
        return options

    @model_validator(mode="after")
    def _whole(self) -> SlurmTarget:
        if (self.host is None) != (self.folder is None):
            raise ValueError("`host` and `folder` go together: the login node, and the project's place there")
        if self.host is not None and self.python is None:
            raise ValueError('`host` needs `python`, the interpreter there, such as ".venv/bin/python"')
        if self.processes == "gpus" and self.gpus is None:
            raise ValueError('`processes = "gpus"` needs `gpus`, the cards of each node')
        if self.gpus is not None and isinstance(self.processes, int) and self.processes > self.gpus:
            raise ValueError(f"{self.processes} processes share {self.gpus} cards: lower `processes`")
        return self


class AzureMLTarget(_Target):
    """`kind = "azureml"`: a compute of an Azure Machine Learning workspace."""

    kind: Literal["azureml"]
    nodes: Annotated[int, Field(ge=1)] = 1
    processes: Processes = Field(1, description="training processes on each node")


Target = Annotated[LocalTarget | SlurmTarget | AzureMLTarget, Field(discriminator="kind")]
KINDS: dict[str, type[BaseModel]] = {"local": LocalTarget, "slurm": SlurmTarget, "azureml": AzureMLTarget}
