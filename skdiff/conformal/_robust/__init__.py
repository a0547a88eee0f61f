"""Prediction sets that hold when rows are moved within a radius."""
