"""Seeded augmentation of images and clouds."""
