"""How long the playbook takes, and how long a change takes to be live."""
