"""The geometry of a city: streets, houses, vegetation, traffic, and their textures."""
