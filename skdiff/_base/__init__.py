"""The ground that every family and both engines stand on."""
