"""Failing OAPs under load, behind every balancing method."""
