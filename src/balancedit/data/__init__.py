"""Data sets of edits: the record they share, their loaders, and what they consist of.

Of the library, only the benchmark and in-context editing use it.
"""
