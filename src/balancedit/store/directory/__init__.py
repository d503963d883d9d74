"""A store in a directory: a SQLite file of records, a file of keys, a file of tensors an edit."""
