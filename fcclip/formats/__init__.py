"""The forms in which results leave the program: what other programs read, pictures and tables."""
