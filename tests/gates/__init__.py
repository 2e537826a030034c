"""Gates: what is held against the collection as a whole, not against one of its parts."""
