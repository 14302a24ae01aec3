"""What a machine can have at the most, and a person mean: bounds of every number and text that is read from a file.

They are wide, so that no server is refused; beyond them a value is a slip or an attack, and would take all memory.
"""

CPUS = 8192
"""NR_CPUS of Linux on x86-64 at the most."""
NODES = 1024
"""NUMA nodes: MAX_NUMNODES of Linux, 1 << 10."""
GPUS = 256
"""Of one host: NVIDIA's driver shows 32 (NV_MAX_DEVICES), and MIG parts each into 7."""
CONTEXTS = 128
"""Kernels that a GPU runs side by side (CUDA programming guide, resident grids per device)."""
SLOTS = 4096
"""Batches that wait in memory at a time: at one image a batch, more than keeps any pipeline full."""
RANKS = 1024
"""Processes of one measurement: each has a Python of its own, some 40 MB."""
MACHINES = 4096
"""That measure together: more than a Dask scheduler serves well."""
BYTES = 1 << 47
"""Memory of one host: the address space of a process on x86-64 (4-level paging)."""
COPY_BYTES = 1 << 40
"""Of one copy: more than any GPU's memory."""
SIDE = 1 << 14
"""Pixels of a side that photographs are resized to: networks take a thousand or so."""
IMAGE_ELEMENTS = 1 << 30
"""Values of one image: OpenCV decodes no larger one (CV_IO_MAX_IMAGE_PIXELS), TensorRT's tensors hold below 2**31."""
DIMENSIONS = 8
"""Of one image: TensorRT's Dims::MAX_DIMS."""
BATCH = 1 << 20
"""Images of a batch."""
FILES = 10_000_000
"""Files of a data set: a folder's listing of them is a gigabyte."""
IMAGES = 10_000_000_000
"""Images of a data set; the largest that are published have 6e9."""
SEED = 2**63 - 1
"""What a signed integer of 64 bits holds."""
SECONDS = 7 * 86_400
"""Of a warm-up or a window: a week."""
REPEATS = 10_000
"""Windows of one point."""
PIXEL = 1e6
"""What pixels are scaled or shifted by: they are 0 … 255, and float16 ends at 65504."""
ITEMS = 1000
"""Values of a list that is multiplied with others."""
COMBINATIONS = 20_000
"""Points before rules leave any out; each takes seconds."""
STARTS = 50_000
"""Processes that a plan starts: at a second and a half each, a day."""
NAME = 255
"""Bytes of a file's name (NAME_MAX of Linux)."""
PATH = 4095
"""Bytes of a path (PATH_MAX of Linux, less its end)."""
COUNTER = 2**64
"""No counter of a machine goes beyond."""
