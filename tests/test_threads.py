"""How many threads the runtime of an export gets."""

import json
import os
import types

import pytest

from scaffolder.worker import onnx_model


@pytest.mark.parametrize(("cores", "allowed", "threads"), [(8, 16, 8), (8, 3, 3), (1, 2, 1)])
def test_a_thread_for_each_core_that_the_process_may_use(cores, allowed, threads, monkeypatch, tmp_path):
    overlaid = []
    runtime = types.SimpleNamespace(Config=lambda _folder: types.SimpleNamespace(overlay=overlaid.append))
    monkeypatch.setattr(onnx_model, "_cores", lambda: cores)
    monkeypatch.setattr(onnx_model, "_allowed_processors", lambda: allowed)
    onnx_model._fitted(runtime, tmp_path, {"model": {"decoder": {"session_options": {}}}})
    [overlay] = map(json.loads, overlaid)
    assert overlay == {"model": {"decoder": {"session_options": {"intra_op_num_threads": threads}}}}


def test_this_machine_has_no_more_cores_than_processors():
    assert 1 <= onnx_model._cores() <= (os.cpu_count() or 1)
