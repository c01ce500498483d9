"""A list file comes in, batches of pictures and labels go out."""
