"""Answering over HTTP with a bundle: `mosaic serve`, and the model that `mosaic register` logs for MLflow's server."""
