"""A toy world for the whole experiment: a language whose skills a program can mark without error."""
