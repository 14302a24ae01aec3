"""The reading wing: records, tables and charts; opens on a laptop."""
