"""Ratings of annotators to labels: tables, label maps, reliability, splits."""
