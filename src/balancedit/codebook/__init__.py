"""Keys, radii and how the nearest are found."""
