"""Setting up and releasing associations: the broker beside DCMTK and pynetdicom, with the same small client.

    python tests/bench/associate.py                      300 associations each, median of 5
    python tests/bench/associate.py --rounds 1 --count 50         the short variant of CI

The client is a blocking socket that sends prepared bytes: connect, A-ASSOCIATE, A-RELEASE, close, one after the other;
what it spends itself is printed. The context must be accepted. The broker's brake on associations per second is off.
DCMTK's storescp runs as it comes, without a process for each.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.bench import Receiver, Target, dcmtk_scp, options, pynetdicom_scp, quiet_site, report, rotated
from support.dicom.raw import RawScu, associate_rq

VERIFICATION, IMPLICIT = "1.2.840.10008.1.1", "1.2.840.10008.1.2"
LIMITS = {"limits": {"associations_per_second": 100_000}}  # the door's own brake is not what is measured
RELEASE = bytes((5, 0, 0, 0, 0, 4, 0, 0, 0, 0))


def rate(peer: Receiver, count: int) -> float:
    """Seconds for `count` associations one after the other."""
    request = associate_rq([(VERIFICATION, IMPLICIT)], called=peer.called.encode())
    began = time.perf_counter()
    for _ in range(count):
        with RawScu(peer.port) as scu:
            scu.socket.sendall(request)
            kind, body = scu.pdu()
            assert kind == 2, kind
            assert body[body.index(b"\x21\0", 68) + 6] == 0, "the context was not accepted"
            scu.socket.sendall(RELEASE)
            assert scu.pdu()[0] == 6
    return time.perf_counter() - began


def main() -> None:
    """Run and print."""
    chosen = options(__doc__, count=300).parse_args()
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        with (
            quiet_site(folder / "broker", LIMITS) as site,
            dcmtk_scp(folder) as dcmtk,
            pynetdicom_scp(folder) as pynetdicom,
        ):
            peers = {"broker": Receiver(site.dicom, "BROKER", int), "dcmtk": dcmtk, "pynetdicom": pynetdicom}
            for peer in peers.values():
                rate(peer, 5)  # what is loaded once
            spent = time.process_time()
            for number in range(chosen.rounds):
                for peer in rotated(list(peers), number):
                    times.setdefault(peer, []).append(rate(peers[peer], chosen.count))
            own = (time.process_time() - spent) / (chosen.rounds * len(peers) * chosen.count)
    report(f"associate: {chosen.count} associations", times, "broker", [Target("pynetdicom", least=3)], chosen.count)
    print(f"  the client's own processor time: {own * 1000:.3f} ms each")


if __name__ == "__main__":
    main()
