"""Selection in which every labelled row both trains and calibrates."""
