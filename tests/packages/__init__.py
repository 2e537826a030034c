"""Where the package nginx comes from: a repository made on the host, a stand-in for nginx.org."""
