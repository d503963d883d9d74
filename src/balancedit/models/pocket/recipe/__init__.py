"""How the default model is made again; nothing here is needed to run it."""
