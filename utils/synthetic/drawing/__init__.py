"""Cartoon pedestrians drawn from attribute labels: the pictures of the embedded data set."""
