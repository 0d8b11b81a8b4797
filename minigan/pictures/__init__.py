"""Arrays in, PNG and GIF files out."""
