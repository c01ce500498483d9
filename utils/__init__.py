"""Around the method: data in, logs and pictures out. Knows no model."""
