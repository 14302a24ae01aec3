import socket
from pathlib import Path

import pytest

from inferkit.linux.interfaces import interface_of, interface_towards, received_bytes


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "127.8.9.1"])
def test_this_machine_speaks_to_itself_by_loopback(address: str) -> None:
    assert interface_of(address) == "lo"


def test_an_address_of_nobody_has_no_interface() -> None:
    assert interface_of("192.0.2.77") == ""
    assert interface_of("2001:db8::77") == ""
    assert interface_of("not an address") == ""


def test_an_ipv6_address_is_looked_up(tmp_path: Path) -> None:
    (tmp_path / "proc/net").mkdir(parents=True)
    line = "20010db8000000000000000000000077 02 40 00 80     eth7\n"
    (tmp_path / "proc/net/if_inet6").write_text(line)
    assert interface_of("2001:db8::77%eth7", tmp_path) == "eth7"


def test_the_way_to_a_host() -> None:
    assert interface_towards("127.0.0.1", 9) == "lo"
    assert interface_towards("no.such.host.invalid", 9) == ""


def test_what_an_interface_received_is_counted() -> None:
    before = received_bytes("lo")
    if before is None:
        pytest.skip("the kernel does not tell")
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as ours:
        other, _ = server.accept()
        with other:
            ours.sendall(bytes(100_000))
            while other.recv(65536) and (received_bytes("lo") or 0) < before + 100_000:
                pass
    assert (received_bytes("lo") or 0) >= before + 100_000
    assert received_bytes("") is None
    assert received_bytes("none") is None
