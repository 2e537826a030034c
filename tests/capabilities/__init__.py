"""What people put nginx in front of gRPC for, on a real host with real OAPs and clients."""
