"""Predictive models over time, worked out a block of rows at once."""
