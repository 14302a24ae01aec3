"""Machines to look at: recorded /sys trees, one with GPUs as its maker describes it, and this one made busy."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FIXTURES = Path(__file__).parent / "fixtures" / "topology"
_FILE = re.compile(r"^==> /(\S+?)(?: -> (\S+))? <==\n(.*?)(?=^==> |\Z)", re.MULTILINE | re.DOTALL)


def unpack(name: str, root: Path) -> Path:
    """Lay out a recorded tree: ``==> /path <==`` begins a file, ``==> /path -> target <==`` is a link."""
    for path, target, content in _FILE.findall((FIXTURES / f"{name}.txt").read_text()):
        write(root, path, content.removesuffix("\n"), target)
    return root


def write(root: Path, path: str, content: str = "", target: str = "") -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    if target:
        file.symlink_to(target)
    else:
        file.write_text(content)


DGX = {
    "0000:07:00.0": (3, "0000:00:01.1", "0000:01:00.0"),
    "0000:0f:00.0": (3, "0000:00:01.1", "0000:01:00.0"),
    "0000:47:00.0": (1, "0000:40:01.1", "0000:41:00.0"),
    "0000:4e:00.0": (1, "0000:40:01.1", "0000:41:00.0"),
    "0000:87:00.0": (7, "0000:80:01.1", "0000:81:00.0"),
    "0000:90:00.0": (7, "0000:80:01.1", "0000:81:00.0"),
    "0000:b7:00.0": (5, "0000:b0:01.1", "0000:b1:00.0"),
    "0000:bd:00.0": (5, "0000:b0:01.1", "0000:b1:00.0"),
}
"""The GPUs of a DGX A100: address, NUMA node, and the bridge and switch above (two GPUs share each switch)."""


def dgx(root: Path, *, told: bool = True, cores_per_node: int = 4) -> Path:
    """Lay out a DGX A100: 2 sockets of 4 nodes each, hyper-threads numbered after all cores; fewer cores than real.

    ``told=False`` is the same machine inside a virtual machine that hides where the GPUs are.
    """
    cores = 8 * cores_per_node
    for cpu in range(2 * cores):
        folder = f"sys/devices/system/cpu/cpu{cpu}/topology"
        core = cpu % cores
        write(root, f"{folder}/physical_package_id", str(core // (4 * cores_per_node)))
        write(root, f"{folder}/thread_siblings_list", f"{core},{core + cores}")
    for node in range(8):
        first, last = node * cores_per_node, (node + 1) * cores_per_node - 1
        write(root, f"sys/devices/system/node/node{node}/cpulist", f"{first}-{last},{first + cores}-{last + cores}")
    for address, (node, bridge, switch) in DGX.items():
        inside = f"devices/pci{bridge[:7]}/{bridge}/{switch}/{address}"
        write(root, f"sys/{inside}/numa_node", str(node if told else -1))
        write(root, f"sys/bus/pci/devices/{address}", target=f"../../../{inside}")
        write(root, f"proc/driver/nvidia/gpus/{address}/information", f"Model: \t A100\nBus Location: \t {address}\n")
    return root


@contextmanager
def busy_loop(cpu: int) -> Iterator[int]:
    """Keep a CPU busy by a process that no run has started."""
    code = f"import os; os.sched_setaffinity(0, {{{cpu}}}); print(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()
