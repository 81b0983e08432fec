"""From a finished folder aside to the artefact under its name."""

import os
import stat

from scaffolder.workflow.publish import publish


def test_files_are_for_whom_the_users_files_are_for(tmp_path):
    aside = tmp_path / "aside"
    (aside / "part").mkdir(parents=True)
    weights = aside / "part" / "model.onnx.data"
    weights.write_bytes(b"x")
    weights.chmod(0o600)
    before = os.umask(0o027)
    try:
        publish(aside, tmp_path / "gen-model" / "onnx-int8")
        mode = (tmp_path / "gen-model" / "onnx-int8" / "part" / "model.onnx.data").stat().st_mode
        assert stat.S_IMODE(mode) == 0o640
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)


def test_the_one_before_stays_beside_it(tmp_path):
    output = tmp_path / "gen-model" / "onnx-int8"
    for content in ("first", "second"):
        (tmp_path / "aside").mkdir()
        (tmp_path / "aside" / "model.onnx").write_text(content)
        publish(tmp_path / "aside", output)
    assert (output / "model.onnx").read_text() == "second"
    assert (output.with_name(".onnx-int8.previous") / "model.onnx").read_text() == "first"
