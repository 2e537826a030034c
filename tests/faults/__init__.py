"""Faults and bad input on real hosts: what is refused, what is rolled back, what stays live."""
