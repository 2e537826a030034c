"""nginx replaced by another one while it serves, under load."""
