"""Networks for the marginals of any subset of columns."""
