"""How the runtime of an export is fitted to the machine."""

import json
import os
import sys
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


@pytest.mark.parametrize(("built", "card", "kept"), [(True, True, True), (True, False, False), (False, True, False)])
def test_a_graph_for_a_card_runs_on_the_processor_where_there_is_none(built, card, kept, monkeypatch, tmp_path):
    cleared = []
    config = types.SimpleNamespace(overlay=lambda _: None, clear_providers=lambda: cleared.append(True))
    runtime = types.SimpleNamespace(Config=lambda _folder: config, is_cuda_available=lambda: built)
    monkeypatch.setattr(onnx_model, "_has_card", lambda: card)
    monkeypatch.setitem(sys.modules, "onnxruntime", types.SimpleNamespace(preload_dlls=lambda: None))
    settings = {"model": {"decoder": {"session_options": {"provider_options": [{"cuda": {}}]}}}}
    onnx_model._fitted(runtime, tmp_path, settings)
    assert cleared == ([] if kept else [True])


def test_this_machine_has_no_more_cores_than_processors():
    assert 1 <= onnx_model._cores() <= (os.cpu_count() or 1)
