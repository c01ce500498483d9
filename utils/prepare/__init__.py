"""Official downloads or a table come in; lists that training reads go out, and what is wrong with them."""
