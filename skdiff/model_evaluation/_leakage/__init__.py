"""Whether preparing data outside of the folds has biased a score."""
