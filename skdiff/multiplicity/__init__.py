"""How far equally good models disagree."""

__all__: list[str] = []
