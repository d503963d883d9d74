"""Data sets of edits: the record they share, their loaders, and what they consist of.

The library core imports nothing from here.
"""
