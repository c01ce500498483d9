"""How every command begins, speaks and ends."""
