"""Fits what the AU estimator and the training targets measure with: scales, motion basis, mean face."""
