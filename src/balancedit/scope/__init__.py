"""What an edit reaches: its radius, the samples that measure it, what fires inside it."""
