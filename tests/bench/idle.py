"""Idle associations: what 1,000 of them cost the broker, and 20 of them pynetdicom.

python tests/bench/idle.py
python tests/bench/idle.py --count 100 --seconds 3        the short variant of CI

At the end each of them answers a C-ECHO: they were alive all the time.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import psutil
from support.bench import options, pynetdicom_scp, quiet_site
from support.dicom.raw import RawScu, command, element, p_data, us
from support.peers.tools import wait_until

VERIFICATION, IMPLICIT = "1.2.840.10008.1.1", "1.2.840.10008.1.2"

ECHO = p_data(
    1,
    command(
        element(0x0002, VERIFICATION.encode()), element(0x0100, us(0x30)), element(0x0110, us(1)),
        element(0x0800, us(0x0101)),
    ),
    is_command=True,
)  # fmt: skip


def cost(pid: int, port: int, called: bytes, count: int, seconds: float) -> tuple[float, float]:
    """CPU in percent of a core, and growth of resident memory in MiB, with `count` idle associations."""
    process = psutil.Process(pid)
    before = process.memory_info().rss
    peers = []
    for _ in range(count):
        peer = RawScu(port)
        kind, _ = peer.associate([(VERIFICATION, IMPLICIT)], called=called)
        assert kind == 2, kind
        peers.append(peer)
    settled = time.monotonic() + 3
    wait_until(lambda: time.monotonic() > settled, 10, "buffers are given back")
    spent = sum(process.cpu_times()[:2])
    began = time.monotonic()
    wait_until(lambda: time.monotonic() - began > seconds, seconds + 10, "time passes")
    percent = (sum(process.cpu_times()[:2]) - spent) / (time.monotonic() - began) * 100
    grown = (process.memory_info().rss - before) / 2**20
    for number, peer in enumerate(peers):
        peer.socket.sendall(ECHO)
        assert peer.status() == 0, f"association {number} is gone"
        peer.close()
    return percent, grown


def main() -> None:
    """Run and print."""
    chosen = options(__doc__, count=1000, seconds=20.0).parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    limits = {"associations": 5000, "associations_per_address": 5000, "half_open_per_address": 500}
    limits["associations_per_second"] = 10_000
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        with quiet_site(Path(name) / "broker", {"limits": limits}) as site:
            assert site.process is not None
            percent, grown = cost(site.process.pid, site.dicom, b"BROKER", chosen.count, chosen.seconds)
        with pynetdicom_scp(Path(name)) as peer:
            (child,) = (c for c in psutil.Process(os.getpid()).children() if "pynetdicom_scp.py" in str(c.cmdline()))
            other, _ = cost(child.pid, peer.port, b"PYNETDICOM", 20, chosen.seconds)
    print(f"\nidle: {chosen.count} associations: {percent:.1f} % of a core, {grown:.1f} MiB")
    print(f"  pynetdicom with 20: {other:.1f} % of a core")
    met = "met" if percent < 5 and grown < 150 else "MISSED"
    print(f"  asked: under 5 % and under 150 MiB for 1000; {met}")


if __name__ == "__main__":
    main()
