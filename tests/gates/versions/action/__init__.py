"""Actions that play the modules which ask and change a host; Ansible finds them by their names."""
