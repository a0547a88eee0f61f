"""Networks that tune their own regularisation while they train."""
