"""From the official downloads, or a table, to lists that run_ALM.py trains on."""
