"""The published evaluation table, and the same figures for machines."""

import math
from collections.abc import Sequence

RULE = "=" * 100
FIGURES = (
    ("mA", "ma"),
    ("Accuracy", "accuracy"),
    ("Precision", "precision"),
    ("Recall", "recall"),
    ("F1_Score", "f1"),
)


def evaluation_table(figures: dict, attributes: Sequence[str], seen: int, listed: int) -> str:
    """Return the table of `AttributeMetrics.compute()`; `seen` of `listed` pictures were evaluated."""
    lines = [RULE, "\t     Attr              \tp_true/n_true\tp_tol/n_tol\tp_pred/n_pred\tcur_mA"]
    for k, name in enumerate(attributes):
        counts = [
            f"{figures[f'{kind}positive'][k]:4}\\{figures[f'{kind}negative'][k]:4}"
            for kind in ("", "predicted_")
        ]
        right = f"{figures['true_positive'][k]:4}\\{figures['true_negative'][k]:4}"
        ma = figures["attribute_ma"][k].item()
        shown = "n/a" if math.isnan(ma) else f"{ma:.5f}"
        lines.append("\t".join(["", f"#{k:2}: {name:18}", right, *counts, shown]))
    lines += [f"\t{title + ':':11}{figures[key]}" for title, key in FIGURES]
    if seen < listed:
        lines.append(f"\tPictures:  {seen} of {listed}")
    return "\n".join([*lines, RULE])


def evaluation_record(figures: dict, attributes: Sequence[str], seen: int, listed: int) -> dict:
    """Return the same as plain numbers and lists; an undefined figure (NaN) becomes None."""
    record = {"pictures": seen, "listed": listed}
    record |= {key: none_for_nan(value) for key, value in figures.items() if isinstance(value, float)}
    per_attribute = {
        key.removeprefix("attribute_"): value.tolist()
        for key, value in figures.items()
        if not isinstance(value, float)
    }
    record["attributes"] = [
        {"name": name} | {key: none_for_nan(values[k]) for key, values in per_attribute.items()}
        for k, name in enumerate(attributes)
    ]
    return record


def none_for_nan(value: float) -> float | None:
    """Return the number, or None for NaN, which JSON cannot say."""
    return None if math.isnan(value) else value
