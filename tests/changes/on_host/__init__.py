"""What runs inside a host, on its own Python: changes of a proxy without Ansible.

The collection's own module_utils are copied beside it (tests/changes/hosts.py), so the transaction
is the one that the module runs, with the host's nginx and systemd.
"""
