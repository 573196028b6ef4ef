"""The sub-commands of `python -m fcclip`: a module each, with a function `main(argv)` that returns the exit code."""
