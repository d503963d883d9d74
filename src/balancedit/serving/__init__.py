"""Answers and edits for programs elsewhere: one loaded model, asked by many at once."""
