"""What all that is served over HTTP has in common: the application, who asks, how often, and what has to wait."""
