"""Hyperband: many settings with little of a resource, few with all of it."""
