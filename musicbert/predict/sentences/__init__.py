"""Predictions and scores of MusicBERT's four downstream tasks."""
