"""Azure Machine Learning: workspaces, jobs, models; the only importer of its SDK, which is an extra."""

from scaffolder.azureml.errors import our_errors
from scaffolder.azureml.models import Registered, fetch, model_folder, register
from scaffolder.azureml.workspace import JobState, Place, Workspace, check_job, place_of

__all__ = [
    "JobState", "Place", "Registered", "Workspace", "check_job", "fetch", "model_folder", "our_errors", "place_of",
    "register",
]  # fmt: skip
