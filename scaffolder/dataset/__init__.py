"""A project's examples: checked, previewed, measured, split and imported."""

from scaffolder.dataset.check import check_data, check_workflow, refuse
from scaffolder.dataset.importing import Imported, import_data
from scaffolder.dataset.preview import Previewed, Run, preview
from scaffolder.dataset.report import FileReport, Finding, Lengths, Place, Report
from scaffolder.dataset.sources import Source, project_sources
from scaffolder.dataset.splitting import Split, split
from scaffolder.dataset.stats import MethodEstimate, Stats, measure

__all__ = [
    "FileReport",
    "Finding",
    "Imported",
    "Lengths",
    "MethodEstimate",
    "Place",
    "Previewed",
    "Report",
    "Run",
    "Source",
    "Split",
    "Stats",
    "check_data",
    "check_workflow",
    "import_data",
    "measure",
    "preview",
    "project_sources",
    "refuse",
    "split",
]
