"""Pages, tables and plots of an evaluation."""
