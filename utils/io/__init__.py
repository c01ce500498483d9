"""Files, terminals and words: what every other room reads and writes with."""
