"""Cumulative logit models of ordered classes."""
