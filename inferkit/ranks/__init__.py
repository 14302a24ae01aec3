"""The processes that measure: started, watched, and put together to one outcome."""
