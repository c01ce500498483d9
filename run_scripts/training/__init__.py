"""Options come in; all that a run needs goes out, and its results are kept."""
