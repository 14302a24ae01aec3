"""Several machines as one: Dask carries plans out and outcomes back; each measures its own ranks as it does alone."""
