"""Missing cells filled by a joint distribution, as a transformer."""
