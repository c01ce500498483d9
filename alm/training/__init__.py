"""Batches come in; trained weights go out, told to the log and saved."""
