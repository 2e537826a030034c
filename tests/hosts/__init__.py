"""The laboratory: images, hosts, real OAPs, real agents and clients of three languages."""
