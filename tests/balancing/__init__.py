"""How calls fall on the OAPs, by balancing method, counted where they arrive."""
