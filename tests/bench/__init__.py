"""What is measured, one module a subject; nothing here passes or fails on time."""
