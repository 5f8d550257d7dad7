"""Data sets: finding files, checking and decoding them, augmentation and batches."""
