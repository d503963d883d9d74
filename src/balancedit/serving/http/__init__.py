"""The HTTP side: routers, keys, limits. What answers lies behind `serving.engine.protocol`."""
