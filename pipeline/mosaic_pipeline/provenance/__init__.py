"""What a thing was made from, as a tree, and what of it is still there byte for byte: see `mosaic trace`.

Nothing here imports dvc, mlflow or torch: lock files and DVC's caches are YAML and bytes, runs are rows of a database,
and git is asked.
"""
