"""Families of counting queries with exact sensitivities."""
