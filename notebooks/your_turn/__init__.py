"""Checks of the tasks with which the notebooks end ("Your turn"): a module for each notebook."""
