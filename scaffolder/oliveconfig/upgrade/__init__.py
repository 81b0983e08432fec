"""Turns a configuration of any Olive since 0.4 into one for today's."""

from __future__ import annotations

from copy import deepcopy

from scaffolder.oliveconfig.upgrade.data import upgrade_data
from scaffolder.oliveconfig.upgrade.engine import clean, lay_flat, order_passes
from scaffolder.oliveconfig.upgrade.evaluators import upgrade_evaluators
from scaffolder.oliveconfig.upgrade.model import upgrade_model
from scaffolder.oliveconfig.upgrade.passes import upgrade_passes
from scaffolder.oliveconfig.upgrade.record import Change, Ledger, Table, Unresolved, Upgrade
from scaffolder.oliveconfig.upgrade.systems import upgrade_systems

__all__ = ["Change", "Unresolved", "Upgrade", "upgrade"]


def upgrade(config: Table) -> Upgrade:
    """Bring a configuration to the form of today's Olive, keeping every value of its author.

    A second upgrade of the result finds nothing to do.

    Args:
        config: The configuration as plain values; it is not changed.
    """
    work = deepcopy(config)
    ledger = Ledger()
    lay_flat(work, ledger)
    upgrade_model(work, ledger)
    upgrade_systems(work, ledger)
    upgrade_data(work, ledger)
    order_passes(work, ledger)
    upgrade_passes(work, ledger)
    upgrade_evaluators(work, ledger)
    clean(work, ledger)
    return Upgrade(work, tuple(ledger.changes), ledger.targets, tuple(ledger.unresolved))
