"""Batches come in; trained weights go out, logged and saved."""
