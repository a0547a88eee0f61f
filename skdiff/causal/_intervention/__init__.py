"""Effects of interventions beyond those that were seen."""
