"""Logits and labels come in; figures, and what may be said of them, go out."""
