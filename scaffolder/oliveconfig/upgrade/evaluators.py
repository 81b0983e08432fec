"""Upgrades evaluators: flat keys, and metrics that name their data."""

from __future__ import annotations

from scaffolder.oliveconfig.upgrade.data import upgrade_one
from scaffolder.oliveconfig.upgrade.record import Ledger, Table, free_name, join, tables


def upgrade_evaluators(config: Table, ledger: Ledger) -> None:
    """Bring every evaluator and its metrics to today's form."""
    for name, evaluator in tables(config.get("evaluators")):
        at = join("evaluators", name)
        ledger.lift(evaluator, "type_args", at)
        for number, metric in tables(evaluator.get("metrics")):
            _metric(metric, name, join(at, "metrics", number), config, ledger)


def _metric(metric: Table, evaluator: str, at: str, config: Table, ledger: Ledger) -> None:
    ledger.lift(metric, "user_config", at)
    inline = metric.get("data_config")
    section = config.setdefault("data_configs", []) if isinstance(inline, dict) else None
    if not isinstance(inline, dict) or not isinstance(section, list):
        return
    name = free_name(str(inline.get("name") or f"{evaluator}_{metric.get('name', 'metric')}"), section)
    item = {**inline, "name": name}
    section.append(item)
    metric["data_config"] = name
    ledger.note("moved", join(at, "data_config"), f"data_configs.{len(section) - 1}", "a metric names its data")
    upgrade_one(item, f"data_configs.{len(section) - 1}", ledger)
