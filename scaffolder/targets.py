"""`[targets.NAME]` of scaffolder.toml: the other places where a workflow can run."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Processes = Annotated[int, Field(ge=1)] | Literal["gpus"]
# Names that go into a script or a command line: no blanks, no quotes, and no option in disguise.
Word = Annotated[str, Field(pattern=r"^[\w.@+:/][\w.@+:/-]*$")]
Line = Annotated[str, Field(pattern=r"^[^\r\n]+$", description="one line")]
# As Azure Machine Learning writes them: an asset by name and version or label, of the workspace or of a registry.
_ASSET = (
    r"azureml:[\w.-]+(:[\w.-]+|@[\w.-]+)|azureml://registries/[\w.-]+/(models|environments|data)/[\w.-]+"
    r"/(versions|labels)/[\w.-]+"
)
AzureAsset = Annotated[str, Field(pattern=rf"^({_ASSET})$", description="azureml:NAME:VERSION or a registry's URI")]
AzurePath = Annotated[
    str,
    Field(
        pattern=rf"^({_ASSET}|azureml://datastores/[\w.-]+/paths/[^\s?#]+)$",
        description="azureml:NAME:VERSION, azureml://registries/… or azureml://datastores/NAME/paths/PATH",
    ),
]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$", description="a name of letters, digits and `_`")]
_SECRET_NAME = re.compile(r"token|secret|passw|api_?key|access_?key|credential|connection_?string", re.IGNORECASE)
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
    """`kind = "azureml"`: a workspace of Azure Machine Learning; without its names, the one of `config.json`.

    One of `compute` (a cluster, or an attached Kubernetes) and `instance_type` (serverless; on Kubernetes beside
    `compute`) says where a job runs.
    """

    kind: Literal["azureml"]
    subscription: Word | None = None
    resource_group: Word | None = None
    workspace: Word | None = None
    compute: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]{1,31}$")] | None = Field(
        None, description="name of a cluster or of an attached Kubernetes"
    )
    instance_type: Word | None = Field(None, description="serverless size, such as Standard_NC24ads_A100_v4")
    nodes: Annotated[int, Field(ge=1)] = 1
    processes: Processes = Field(1, description='training processes on each node; "gpus" for one a card')
    spot: bool = Field(False, description="serverless machines at the price that can be taken away")
    time: Annotated[int, Field(ge=1)] | None = Field(None, description="minutes after which the job is ended")
    shm_size: str = Field("16g", pattern=r"^\d+[bkmg]$", description="shared memory, such as 16g")
    environment: AzureAsset | None = Field(None, description="in place of the project's own lock")
    image: Line | None = Field(None, description="base image for the project's lock")
    data: dict[str, AzurePath] = Field(
        default_factory=dict, description="where files of the project lie in Azure, by path; else they are sent"
    )
    model: Literal["cache", "hub"] | AzurePath = Field(
        "cache", description="cache: the model here is sent; hub: the job downloads it; else a model of Azure"
    )
    keyvault: Word | None = Field(None, description="its secret `secret` is the hub's token, read inside the job")
    secret: Word = "hf-token"
    identity: Literal["user", "managed"] | None = Field(None, description="whose rights the job has")
    datastore: Word = Field("workspaceblobstore", description="takes checkpoints and results")
    experiment: Word | None = None
    variables: dict[Variable, str] = Field(default_factory=dict, description="environment variables; never a secret")
    tags: dict[str, str] = Field(default_factory=dict)

    @property
    def processes_per_node(self) -> Processes:
        """How many processes train on each node."""
        return self.processes

    @field_validator("variables")
    @classmethod
    def _no_secret(cls, variables: dict[str, str]) -> dict[str, str]:
        for name in variables:
            if _SECRET_NAME.search(name):
                raise ValueError(f"`{name}` would travel in clear: put it into a key vault and name that as `keyvault`")
        return variables

    @model_validator(mode="after")
    def _whole(self) -> AzureMLTarget:
        names = (self.subscription, self.resource_group, self.workspace)
        if any(names) and not all(names):
            raise ValueError("`subscription`, `resource_group` and `workspace` go together, or `config.json` has them")
        if self.compute is None and self.instance_type is None:
            raise ValueError("`compute` (a cluster) or `instance_type` (serverless) has to say where jobs run")
        if self.spot and self.compute is not None:
            raise ValueError("`spot` goes with serverless; a cluster's own tier says whether its machines are spot")
        if self.environment is not None and self.image is not None:
            raise ValueError("`image` is for the project's lock; `environment` has an image of its own")
        if self.keyvault is not None and self.model != "hub":
            raise ValueError('`keyvault` holds the hub\'s token, which only `model = "hub"` uses')
        return self


Target = Annotated[LocalTarget | SlurmTarget | AzureMLTarget, Field(discriminator="kind")]
KINDS: dict[str, type[BaseModel]] = {"local": LocalTarget, "slurm": SlurmTarget, "azureml": AzureMLTarget}
