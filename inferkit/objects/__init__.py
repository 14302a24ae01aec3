"""Object stores that speak S3: where objects lie, who may read them, and requests that are repeated and counted."""
