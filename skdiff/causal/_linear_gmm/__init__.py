"""Linear regression by moment restrictions on instruments."""
