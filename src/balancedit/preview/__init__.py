"""What an edit would change before it is in force: learned, held against questions asked before,
and committed only if it pleases."""
