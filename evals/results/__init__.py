"""From marks to cells, contrasts and tables."""
