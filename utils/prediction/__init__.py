"""Many pictures come in; tables, files and sheets go out."""
