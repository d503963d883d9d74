"""Serving an edited model over HTTP; needs the extra `serve`. Nothing is imported here."""
