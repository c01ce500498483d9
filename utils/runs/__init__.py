"""What a run leaves in its directory, and what is read back from it."""
