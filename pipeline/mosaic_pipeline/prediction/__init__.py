"""Predicting what lies in a file or a folder."""
