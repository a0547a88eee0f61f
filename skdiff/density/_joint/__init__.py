"""What joint distributions with marginals have in common."""
