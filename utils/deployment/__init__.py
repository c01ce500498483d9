"""A trained network comes in; a file that runs elsewhere goes out, compared with PyTorch first."""
