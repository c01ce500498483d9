"""Which predictor and which attributes come of a checkpoint."""

import pytest
import torch
from support.models import ATTRIBUTES

from alm.errors import AlmError
from alm.inference import predictor
from utils.data.catalog import EXPERIMENTS
from utils.prediction import load
from utils.prediction.load import load_predictor


def test_a_checkpoint_of_ours_names_its_attributes(checkpoint):
    predictor, notes = load_predictor(str(checkpoint), device="cpu", align_corners=True)
    assert predictor.attributes == ATTRIBUTES
    assert predictor.align_corners
    assert notes == []


@pytest.mark.slow
def test_a_published_checkpoint_has_those_of_the_data_set_with_as_many(untrained, tmp_path):
    path = str(untrained)
    predictor, (note,) = load_predictor(path, device="cpu")
    assert predictor.attributes == EXPERIMENTS["peta"].attributes
    assert "those of peta" in note
    (tmp_path / "names.txt").write_text("\n".join(f"a{k}" for k in range(35)))
    predictor, notes = load_predictor(path, device="cpu", names=str(tmp_path / "names.txt"))
    assert predictor.attributes == tuple(f"a{k}" for k in range(35))
    assert notes == []
    with pytest.raises(AlmError, match=r"its 4 attributes, and no published data set .* --names"):
        load.assumed_attributes(path, 4)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"checkpoint": "absent.pth.tar"}, "absent.pth.tar"),
        ({"experiment": "peta"}, "7.pth.tar: 35 names of attributes, but it has 3"),
        ({"experiment": "rap2"}, "unknown experiment 'rap2'"),
        ({"names": "absent.txt"}, "absent.txt"),
    ],
)
def test_a_wrong_option_of_the_network_is_refused(checkpoint, options, words):
    with pytest.raises((AlmError, OSError), match=words):
        load_predictor(**{"checkpoint": str(checkpoint), "device": "cpu", **options})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"device": "sdaa"}, "m.onnx: an .onnx file is computed on the CPU; leave out the device sdaa"),
        ({"experiment": "peta"}, "m.onnx has other attributes than those that are named"),
        ({"align_corners": True}, "m.onnx: --align_corners cannot change"),
    ],
)
def test_an_exported_file_decides_for_itself(monkeypatch, options, words):
    class Exported:
        attributes, align_corners = ATTRIBUTES, False

    monkeypatch.setattr(predictor, "OnnxPredictor", lambda *_: Exported())
    for kept in ({}, {"align_corners": False}, {"device": "cpu"}):
        assert load_predictor("m.onnx", **kept)[1] == []
    with pytest.raises(AlmError, match=words):
        load_predictor("m.onnx", **options)


def test_as_many_threads_compute_as_are_asked_for(checkpoint):
    wanted = torch.get_num_threads() + 1
    load_predictor(str(checkpoint), device="cpu", threads=wanted)
    assert torch.get_num_threads() == wanted
