"""How many dimensions rows fill, how near classes come, how hard a task is."""
