"""The doors: the command ``inferkit``, parameter files, and notebooks executed by papermill."""
