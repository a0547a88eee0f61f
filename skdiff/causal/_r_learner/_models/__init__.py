"""Models in the three places of an R-learner."""
