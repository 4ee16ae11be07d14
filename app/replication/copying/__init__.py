"""How the bytes of an image get from one registry to another. Knows no site's state and no tracking row."""
