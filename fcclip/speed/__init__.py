"""What makes a model faster from outside, and what it costs."""
