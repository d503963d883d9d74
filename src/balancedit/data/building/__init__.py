"""Making a data set of counterfactual edits from facts, as the paper's Appendix A made OKEDIT.

`facts` reads what to start from, `plan` says how much is wanted, `steps` holds the prompts and the
checks of their replies, `models` the endpoints and pipelines that answer them, `ledger` everything
that was answered so far; `builder` runs it all and `writing` writes what came of it.
"""
