"""The transaction on a real host: killed at every place, and many changes in a row under load."""
