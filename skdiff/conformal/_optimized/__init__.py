"""Selection that chooses among candidates with the rows it selects."""
