"""Stop networks whose learning curves are forecast to lose."""
