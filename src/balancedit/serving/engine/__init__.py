"""What stands between many askers and one model: a bounded queue, batches, and one thread that owns
the editors. It knows nothing of HTTP, of keys, or of who asks."""
