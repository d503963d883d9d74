"""The edited layer: which calls reach it, what is decided about their rows, what is put in place
of its output."""
