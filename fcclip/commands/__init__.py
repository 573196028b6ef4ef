"""The sub-commands of `fcclip`: each module has `main(argv)`, which returns the exit code."""
