"""BalancEdit: a codebook of edits beside one frozen layer (paper, Section 3.2).

Each edit is an entry of its own: a key (the prompt's embedding at the layer's input), a
transformation (the layer's weight, fine-tuned on the new answer) and an influence radius measured
from a rephrased question and a black picture. A prompt inside a radius goes through that entry's
transformation; every other goes through the untouched layer.

Source: paper Section 3.2, Eqs. 1-3 and 10; where they disagree, docs/concepts.md says which we
follow and why.
"""

from balancedit.methods.balancedit.config import PRESETS, BalancEditConfig
from balancedit.methods.balancedit.method import BalancEdit
from balancedit.methods.protocol import OfferedMethod

__all__ = ["METHOD", "PRESETS", "BalancEdit", "BalancEditConfig"]

METHOD = OfferedMethod(BalancEdit, PRESETS)
