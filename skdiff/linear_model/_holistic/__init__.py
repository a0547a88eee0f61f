"""Linear models of the worst mean over poisoned rows and nearby distributions."""
