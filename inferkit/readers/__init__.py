"""Readers: bytes from storage into batches."""
