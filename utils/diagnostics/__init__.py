"""A training step comes in; which operator a device computes wrong goes out."""
