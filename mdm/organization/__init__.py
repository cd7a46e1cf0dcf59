"""Schools, classes and holders (the six items, R-26)."""
