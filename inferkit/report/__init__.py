"""What people look at: records in words, tables, charts, comparisons and exports. It opens on a laptop."""
