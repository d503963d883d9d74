"""Files beside the edit store: durable writes, journals, the cache directory."""
