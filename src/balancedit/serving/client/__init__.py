"""A server's edits from elsewhere: what the command line does with `--server`. Neither torch nor
any other large package is imported here, so that an answer takes little longer than the server."""
