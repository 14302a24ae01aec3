"""What a machine knows of itself, read from a tree of its files."""

from pathlib import Path

import pytest

from inferkit.machine.identity import Known, identity

FILES = {
    "proc/sys/kernel/hostname": "node17.hpc.example.org\n",
    "etc/hosts": "127.0.0.1 localhost\n10.1.2.3 node17.hpc.example.org node17 gold # ours\n10.1.2.4 node18\n",
    "etc/machine-id": "3d1219c7c4c5404aaa1f6d2a48adfda4\n",
    "etc/iscsi/initiatorname.iscsi": "InitiatorName=iqn.2001-04.org.example:node17\n",
    "proc/sys/kernel/random/boot_id": "0c1d61fc-2aad-4ae5-b3e0-902cf4820dd2\n",
    "sys/class/dmi/id/product_serial": "J1234XY\n",
    "sys/class/dmi/id/board_serial": "None\n",
    "sys/class/dmi/id/chassis_serial": "Default string\n",
    "sys/block/nvme0n1/wwid": "eui.0025385b21404a5b\n",
    "sys/block/nvme0n1/device/serial": "S4EWNX0R123456\n",
    "sys/block/dm-0/dm/uuid": "LVM-0nbcMiJ4tvRJ3gUsnLqhXMl0LC8jvJIi\n",
    "sys/class/net/eth0/address": "02:fc:00:00:00:01\n",
    "sys/class/net/lo/address": "00:00:00:00:00:00\n",
    "sys/class/infiniband/mlx5_0/node_guid": "b859:9f03:00aa:bbcc\n",
    "proc/net/fib_trie": "Main:\n  |-- 10.1.2.3\n     /32 host LOCAL\n  |-- 10.1.2.0\n     /24 link UNICAST\n",
    "proc/net/if_inet6": "fe8000000000000000fc00fffe000001 03 40 20 80 eth0\n",
    "proc/driver/nvidia/gpus/0000:3b:00.0/information": "GPU UUID: \t GPU-6d1b3bf9-d1aa-44a4-8f0c-6f5f7f4ad0d6\n",
    "dev/disk/by-label/adas-disk": "",
}


def write(root: Path) -> Path:
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def test_names_addresses_and_identifiers_are_found(tmp_path: Path) -> None:
    found = identity(write(tmp_path))
    assert {known.text for known in found if known.kind == "host"} >= {"node17.hpc.example.org", "node17", "gold"}
    assert "node18" not in {known.text for known in found}
    ids = {known.text for known in found if known.kind == "id"}
    assert ids == {
        "3d1219c7c4c5404aaa1f6d2a48adfda4",
        "iqn.2001-04.org.example:node17",
        "0c1d61fc-2aad-4ae5-b3e0-902cf4820dd2",
        "J1234XY",
        "eui.0025385b21404a5b",
        "S4EWNX0R123456",
        "LVM-0nbcMiJ4tvRJ3gUsnLqhXMl0LC8jvJIi",
        "GPU-6d1b3bf9-d1aa-44a4-8f0c-6f5f7f4ad0d6",
        "adas-disk",
    }
    addresses = {known.text for known in found if known.kind == "address"}
    assert addresses == {"02:fc:00:00:00:01", "b859:9f03:00aa:bbcc", "10.1.2.3", "fe80::fc:ff:fe00:1"}


def test_the_user_and_the_home_folder_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SUDO_USER", "ada")
    monkeypatch.setenv("HOME", "/home/ada lovelace")
    assert {Known("user", "ada"), Known("path", "/home/ada lovelace")} <= set(identity(tmp_path))


def test_this_machine_has_an_identity() -> None:
    assert {known.kind for known in identity()} >= {"host", "user", "path"}
