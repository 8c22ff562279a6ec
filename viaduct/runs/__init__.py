"""Recipes, the stages they expand to, and running them."""
