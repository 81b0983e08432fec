"""Upgrades `systems`: flat keys, accelerators as tables, and Azure ML as a target of the project."""

from __future__ import annotations

from typing import Any

from scaffolder.oliveconfig.upgrade.record import Ledger, Table, join, tables

DEVICES = ("cpu", "gpu", "npu", "vpu")
CLIENT = ("subscription_id", "resource_group", "workspace_name", "keyvault_name")
COMPUTE = {"aml_compute": "compute", "instance_count": "instance_count", "is_dev": "is_dev", "tags": "tags"}
DOCKER = {"base_image": "image", "conda_file_path": "conda_file", "dockerfile": "dockerfile"}
DOCKER |= {
    "build_context_path": "build_context",
    "name": "environment_name",
    "version": "environment_version",
}
GONE = "Azure ML was removed from Olive 0.10; it is a target in scaffolder.toml"


def upgrade_systems(config: Table, ledger: Ledger) -> None:
    """Bring every system to today's form, and make a target of each one on Azure ML."""
    client = config.get("azureml_client")
    client = client if isinstance(client, dict) else {}
    for name, system in tables(config.get("systems")):
        at = join("systems", name)
        ledger.lift(system, "config", at)
        if str(system.get("type", "")).casefold() == "azureml":
            _azureml(name, system, client, ledger)
        _docker(system, at, ledger)
        _python(system, at, ledger)
        _accelerators(system, at, ledger)
    for key in ("host", "target"):
        if isinstance(config.get(key), dict):
            ledger.lift(config[key], "config", key)
            _accelerators(config[key], key, ledger)
    if client and not ledger.targets:
        ledger.targets["azureml"] = workspace(client)
    ledger.drop(config, "azureml_client", "", GONE)


def workspace(client: Table) -> Table:
    """The part of a target that says which workspace it is."""
    return {"kind": "azureml", **{key: client[key] for key in CLIENT if key in client}}


def _azureml(name: str, system: Table, client: Table, ledger: Ledger) -> None:
    at = join("systems", name)
    own = system.pop("azureml_client", None) or system.pop("azureml_client_config", None)
    target = workspace(own if isinstance(own, dict) else client)
    for key, new in COMPUTE.items():
        if key in system:
            target[new] = system.pop(key)
            ledger.note("moved", join(at, key), f"targets.{name}.{new}", GONE)
    docker = system.pop("aml_docker_config", None) or system.pop("aml_environment_config", None)
    settings: Table = docker if isinstance(docker, dict) else {}
    for key, value in settings.items():
        new = DOCKER.get(key, key)
        target[new] = value
        ledger.note("moved", join(at, "aml_docker_config", key), f"targets.{name}.{new}", GONE)
    if system.pop("hf_token", None):
        target["hf_token"] = True
        ledger.note(
            "moved",
            join(at, "hf_token"),
            f"targets.{name}.hf_token",
            "the job needs a token, the file does not",
        )
    for key in [key for key in system if key not in ("type", "accelerators")]:
        ledger.drop(system, key, at, GONE)
    system["type"] = "LocalSystem"
    ledger.note("converted", join(at, "type"), join(at, "type"), "the job runs Olive on the machine that it is given")
    ledger.targets[name] = target


def _docker(system: Table, at: str, ledger: Ledger) -> None:
    if str(system.get("type", "")).casefold() != "docker":
        return
    ledger.lift(system, "local_docker_config", at)
    for key in ("is_dev", "requirements_file_path", "olive_managed_env"):
        ledger.drop(system, key, at, "Olive has no such key today")


def _python(system: Table, at: str, ledger: Ledger) -> None:
    kind = str(system.get("type", "")).casefold()
    if kind == "pythonenvironment":
        for key in ("olive_managed_env", "requirements_file"):
            ledger.drop(system, key, at, "Olive no longer manages an environment; name `python_environment_path`")
    elif kind == "isolatedort":
        ledger.leave(join(at, "type"), "no equivalent: IsolatedORT was removed from Olive")


def _accelerators(system: Table, at: str, ledger: Ledger) -> None:
    device = system.get("device")
    if isinstance(device, str) and "accelerators" not in system:
        ledger.rename(system, "device", "accelerators", at, "a device stands with its accelerator")
        system["accelerators"] = [device]
    listed: Any = system.get("accelerators")
    if not isinstance(listed, list):
        return
    key = join(at, "accelerators")
    for number, item in enumerate(listed):
        if isinstance(item, str):
            listed[number] = {"device": item.lower() if item.lower() in DEVICES else item}
            ledger.note("converted", join(key, number), join(key, number), "an accelerator is a table today")
        elif isinstance(item, dict):
            _device(item, join(key, number), ledger)
            _one_provider(item, join(key, number), ledger)
    for number in range(len(listed) - 1, 0, -1):
        del listed[number]
        ledger.note("dropped", join(key, number), "", "Olive takes one accelerator today; the first is kept")


def _device(accelerator: Table, at: str, ledger: Ledger) -> None:
    device = accelerator.get("device")
    if isinstance(device, str) and device not in DEVICES and device.lower() in DEVICES:
        accelerator["device"] = device.lower()
        ledger.note("converted", join(at, "device"), join(at, "device"), "Olive writes devices in small letters")


def _one_provider(accelerator: Table, at: str, ledger: Ledger) -> None:
    providers = accelerator.get("execution_providers")
    key = join(at, "execution_providers")
    if isinstance(providers, str):
        accelerator["execution_providers"] = [providers]
        ledger.note("converted", key, key, "Olive takes a list")
    elif isinstance(providers, list) and len(providers) > 1:
        accelerator["execution_providers"] = providers[:1]
        ledger.note("converted", key, key, f"Olive takes one execution provider today; {providers[0]} was the first")
