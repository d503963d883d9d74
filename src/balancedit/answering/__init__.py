"""Answers of the edited model: generated, streamed, or held against given ones."""
