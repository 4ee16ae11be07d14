"""The demonstration: two real registries on this machine and everything between them."""
