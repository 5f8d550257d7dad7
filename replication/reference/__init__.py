"""Recorded results that later code is held to: files, comparison, what to say."""
