"""Engines: what infers a batch that lies on a device."""
