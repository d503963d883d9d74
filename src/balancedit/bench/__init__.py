"""The benchmark: how well edits hold, how far they reach, what they leave alone.

The library core imports nothing from here.
"""
