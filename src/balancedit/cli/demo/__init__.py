"""`balancedit demo`: a story told with real answers of the model.

`script` says what is asked, `play` asks and measures it, `story` tells it, `figure` draws it, and
`pictures` makes the pictures it asks about.
"""
