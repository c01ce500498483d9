"""The plot of loss.py: any logs, in any script."""

import numpy as np
import pytest
from PIL import Image, ImageColor

from utils.io import figure
from utils.runs import loss_plot as plots
from utils.runs.log_reader import LossLog
from utils.runs.loss_comparison import compare_losses
from utils.runs.loss_plot import plot_losses


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("count", [2, 1200])
def test_any_number_of_iterations_and_logs_can_be_drawn(tmp_path, count):
    rng = np.random.default_rng(0)

    def log(i):
        losses = {(n // 500, n % 500): value for n, value in enumerate(rng.random(count))}
        return LossLog(f"run{i}_$\\frac$" if i % 2 else f"{'long/' * 20}{i}.log", "text", losses)

    logs = [log(i) for i in range(8)]
    plot_losses([compare_losses(log, logs[0]) for log in logs[1:]], tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 24)}
    assert {ImageColor.getrgb(colour) for colour in plots.COLOURS} < colours


@pytest.mark.filterwarnings("error")
def test_losses_that_no_axis_can_show_are_gaps(tmp_path):
    values = [1e308, -1e308, 0.0, np.inf, -np.inf, np.nan, 2.0, 1.0]
    first, second = (
        LossLog("a.log", "text", {(0, i): float(value) for i, value in enumerate(order)})
        for order in (values, values[::-1])
    )
    plot_losses([compare_losses(first, second)], tmp_path / "loss.png")
    assert (tmp_path / "loss.png").stat().st_size > 0


@pytest.mark.filterwarnings("error")
def test_paths_in_any_script_are_drawn_without_a_warning(tmp_path, caplog):
    """In a font that has them, if one is installed; else spelt out."""
    log = LossLog("训练_$x$.log", "text", {(0, 0): 1.0, (0, 1): 0.5})
    plot_losses([compare_losses(log, log)], tmp_path / "loss.png")
    assert caplog.records == []


def test_characters_that_no_font_has_are_spelt_out(monkeypatch):
    monkeypatch.setattr(figure, "lacking", lambda text: {"训"})
    assert plots._label(LossLog("训练$.log", "text", {})) == r"\u8bad练\$.log"
