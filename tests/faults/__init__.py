"""Commands that are killed at random moments and repeated: `python -m tests.faults`."""
