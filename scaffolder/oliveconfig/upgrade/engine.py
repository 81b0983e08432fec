"""Upgrades the top level: the engine's keys, searches, and what Olive refuses there today."""

from __future__ import annotations

from scaffolder.oliveconfig.upgrade.record import Ledger, Table, tables

DROPPED = {
    "hf_token": "Olive takes no token; set the variable HF_TOKEN or run `hf auth login`",
    "output_name": "Olive refuses it; `output_dir` alone says where the result goes",
    "execution_providers": "they stand with the accelerators of a system",
    "evaluation_only": "was removed from Olive",
    "azureml_client_config": "Azure ML is a target in scaffolder.toml",
    "$schema": "Olive refuses it; the schema is connected in .vscode/settings.json",
}


def lay_flat(config: Table, ledger: Ledger) -> None:
    """Move the keys under `engine` to the top."""
    engine = config.get("engine")
    if not isinstance(engine, dict | None):
        return
    for key in engine or {}:
        if key in config:
            ledger.drop(config, key, "", "`engine` gives it too, and Olive reads that one")
    ledger.lift(config, "engine", "", inner_wins=True)


def clean(config: Table, ledger: Ledger) -> None:
    """Take out of the top level what Olive refuses, and rename what it renamed."""
    _providers(config, ledger)
    for key, reason in DROPPED.items():
        ledger.drop(config, key, "", reason)
    if "auto_optimizer_config" in config:
        ledger.leave("auto_optimizer_config", "no equivalent: Olive no longer chooses passes; write them out")
    strategy = config.get("search_strategy")
    if isinstance(strategy, dict):
        _search(strategy, ledger)


def order_passes(config: Table, ledger: Ledger) -> None:
    """Put the passes in the order that `pass_flows` named, and take that key out."""
    given = config.get("pass_flows")
    flows = [flow for flow in given if isinstance(flow, list)] if isinstance(given, list) else []
    passes = config.get("passes")
    if "pass_flows" not in config:
        return
    if not flows or not isinstance(passes, dict):
        ledger.drop(config, "pass_flows", "", "names no passes; they run in the order in which they are written")
        return
    if len(flows) > 1:
        ledger.leave(
            "pass_flows",
            "no equivalent: Olive runs one flow; keep the first here, write a file for each other",
        )
        return
    flow = [name for name in flows[0] if name in passes]
    for name in [name for name in passes if name not in flow]:
        ledger.drop(passes, name, "passes", "`pass_flows` did not name it, so it never ran")
    config["passes"] = {name: passes[name] for name in flow}
    del config["pass_flows"]
    ledger.note("converted", "pass_flows", "passes", "passes run in the order in which they are written")


def _providers(config: Table, ledger: Ledger) -> None:
    providers = config.get("execution_providers")
    systems = config.get("systems")
    target = config.get("target") or config.get("host")
    system = systems.get(target) if isinstance(systems, dict) and isinstance(target, str) else None
    if not isinstance(providers, list) or not providers or not isinstance(system, dict):
        return
    for at, accelerator in tables(system.get("accelerators")):
        if "execution_providers" not in accelerator:
            accelerator["execution_providers"] = providers[:1]
            del config["execution_providers"]
            new_key = f"systems.{target}.accelerators.{at}.execution_providers"
            ledger.note("moved", "execution_providers", new_key, "they stand with an accelerator, one for each")
            return


def _search(strategy: Table, ledger: Ledger) -> None:
    at = "search_strategy"
    ledger.rename(strategy, "search_algorithm", "sampler", at, "Olive renamed it")
    ledger.rename(strategy, "search_algorithm_config", "sampler_config", at, "Olive renamed it")
    if strategy.get("sampler") == "exhaustive":
        strategy["sampler"] = "sequential"
        ledger.note("converted", f"{at}.sampler", f"{at}.sampler", "Olive calls `exhaustive` now `sequential`")
    if isinstance(strategy.get("sampler_config"), dict):
        ledger.rename(
            strategy["sampler_config"],
            "num_samples",
            "max_samples",
            f"{at}.sampler_config",
            "Olive renamed it",
        )
    ledger.lift(strategy, "sampler_config", at)
