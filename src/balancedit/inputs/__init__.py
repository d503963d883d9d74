"""What comes in: pictures and texts, checked, and put into batches."""
