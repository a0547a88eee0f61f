"""What a fitted network has learned, layer by layer."""
