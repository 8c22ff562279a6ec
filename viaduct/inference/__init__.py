"""Prediction, embedding and mining."""
