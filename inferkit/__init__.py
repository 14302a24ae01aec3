"""inferkit: how many images a second can this server infer from this storage, and what is the limit?"""

__version__ = "0.1.0"
