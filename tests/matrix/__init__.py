"""Every nginx that there is a binary of, on a host of its own: what people rely on, each of it."""
