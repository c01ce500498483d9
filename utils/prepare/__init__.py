"""From the official downloads, or a table, to lists that training reads, and what is in such lists."""
