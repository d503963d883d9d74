"""Making a data set of counterfactual edits from facts, as the paper's Appendix A made OKEDIT.

`facts` reads what to start from, `steps` holds the prompts and the checks of their replies,
`models` the endpoints and pipelines that answer them, `ledger` everything that was answered so far,
and `builder` runs it all.
"""
