"""The collection as each ansible-core runs it, from the oldest that it is for on."""
