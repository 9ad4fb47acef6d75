"""Taking orders over MLLP: the broker beside hl7apy's server, in one run.

    python tests/bench/orders.py                          1 and 16 connections, then with 1,000,000 orders stored
    python tests/bench/orders.py --rounds 1 --count 100 --stored 2000         the short variant of CI

Each message is a new order (ORM^O01 2.3.1) of a new patient. The broker answers after the commit; hl7apy's MLLPServer
with `parse_message` keeps nothing. It takes one message per connection, so its clients connect for each; ours keep
theirs, as a RIS does. The answer time is that of one message at its client. For the last table the database of a
stopped broker is filled with copies of one order that it took in itself: every key of a copy is its own. Its copy of
the open steps for an outage is made before the time is taken.
"""

from __future__ import annotations

import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.bench import Target, asked, options, quiet_site, rotated, table
from support.peers.tools import ENVIRONMENT, free_port, listens, wait_until
from support.service.site import Site
from support.store.filling import fill

HL7APY = """
import sys
from hl7apy.mllp import AbstractHandler, MLLPServer
from hl7apy.parser import parse_message

class Handler(AbstractHandler):
    def reply(self):
        message = parse_message(self.incoming_message)
        control_id = message.msh.msh_10.to_er7()
        return f"\\x0bMSH|^~\\\\&|B|R|RIS|S|2026||ACK|1|P|2.3.1\\rMSA|AA|{control_id}\\r\\x1c\\r"

MLLPServer("127.0.0.1", int(sys.argv[1]), {"ORM^O01": (Handler,)}).serve_forever()
"""
VT, END = b"\x0b", b"\x1c\r"
Answered = tuple[float, list[float]]  # seconds of the whole, seconds of each answer


def order(key: str) -> bytes:
    """A new order of a new patient; `key` makes its numbers."""
    lines = (
        f"MSH|^~\\&|RIS|SITE|BROKER|RAD|20260312081544||ORM^O01|{key}|P|2.3.1||||||8859/1",
        f"PID|1||{key}^^^SITE||BENCH^{key}^^^MRS||19700101|F",
        "PV1|1|I|CARD^204^A^SITE||||1001^ROE^RICHARD|1002^DOE^JANE|||||||B6||||V2026^^^SITE",
        f"ORC|NW|P{key}^HIS|F{key}^RIS||SC||1^^^20260312103000^^S||20260312081530|||1001^ROE^RICHARD",
        f"OBR|1|P{key}^HIS|F{key}^RIS|CTHX^Thorax CT^L^CTHX1^Thorax IV^L||||||||||||1001^ROE^RICHARD||{key}|R{key}|"
        f"S{key}||||CT|||1^^^20260312103000^^S|||WALK|EP^Suspected embolism^L|||07&MARTIN&LEA",
        f"ZDS|1.2.826.0.1.3680043.9.{int(key, 36)}^RIS^Application^DICOM",
    )
    return "".join(f"{line}\r" for line in lines).encode("latin_1")


def exchange(connection: socket.socket, message: bytes) -> None:
    """Send one message; raises if the answer is not positive."""
    connection.sendall(VT + message + END)
    answer = b""
    while not answer.endswith(END):
        data = connection.recv(65536)
        if not data:
            break
        answer += data
    assert b"\rMSA|AA|" in answer, answer


def client(port: int, messages: Sequence[bytes], reconnect: bool, times: list[float]) -> None:
    """Send messages one after the other, adding the seconds of each."""
    connection: socket.socket | None = None
    for message in messages:
        began = time.perf_counter()
        if connection is None:
            connection = socket.create_connection(("127.0.0.1", port), 60)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        exchange(connection, message)
        if reconnect:
            connection.close()
            connection = None
        times.append(time.perf_counter() - began)
    if connection is not None:
        connection.close()


def run(port: int, messages: Sequence[bytes], connections: int, reconnect: bool) -> Answered:
    """All messages over so many connections at once."""
    times: list[list[float]] = [[] for _ in range(connections)]
    threads = [
        threading.Thread(target=client, args=(port, messages[n::connections], reconnect, times[n]))
        for n in range(connections)
    ]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole, answers = time.perf_counter() - began, [seconds for each in times for seconds in each]
    assert len(answers) == len(messages), "a client failed"
    return whole, answers


@contextmanager
def hl7apy_server(folder: Path) -> Iterator[int]:
    """hl7apy's server in a process of its own; its port."""
    script, port = folder / "hl7apy_server.py", free_port()
    script.write_text(HL7APY)
    process = subprocess.Popen([sys.executable, str(script), str(port)], env=ENVIRONMENT)
    try:
        wait_until(lambda: listens(port), 30, "hl7apy listens")
        yield port
    finally:
        process.terminate()
        process.wait()


def messages(prefix: str, count: int) -> list[bytes]:
    """New orders; the prefix must not come twice."""
    return [order(f"{prefix}{number:06d}") for number in range(count)]


def beside_hl7apy(folder: Path, site: Site, connections: int, count: int, rounds: int) -> None:
    """One table."""
    wholes: dict[str, list[float]] = {}
    answers: dict[str, list[float]] = {}
    with hl7apy_server(folder) as other:
        ports = {"broker": site.hl7, "hl7apy": other}
        for number in range(rounds):
            for name in rotated(list(ports), number):
                sent = messages(f"{name[0]}{connections}{chr(65 + number)}", count)
                whole, times = run(ports[name], sent, connections, name == "hl7apy")
                wholes.setdefault(name, []).append(whole)
                answers.setdefault(name, []).append(percentile(times, 99))
    table(f"{count} orders on {connections} connection(s)", wholes, "broker", count)
    for name, seconds in answers.items():
        print(f"  {name:24} answer p99 {statistics.median(seconds) * 1000:.1f} ms")
    asked(wholes, "broker", [Target("hl7apy", least=5)])


def percentile(times: Sequence[float], percent: int) -> float:
    """Seconds below which so many percent of the answers came."""
    return sorted(times)[min(len(times) - 1, len(times) * percent // 100)]


def copied(copy: Path) -> bool:
    """The copy for an outage has been made: with a million open steps that takes some seconds after the start."""
    try:
        with closing(sqlite3.connect(f"file:{copy}?mode=ro", uri=True)) as connection:
            return connection.execute("SELECT count(*) FROM made").fetchone() == (1,)
    except sqlite3.OperationalError:
        return False


def grown(folder: Path, stored: int, count: int, rounds: int) -> None:
    """The rate with 1,000 orders in the database and with `stored`, in turn."""
    sites = {"1,000 stored": quiet_site(folder / "few"), f"{stored:,} stored": quiet_site(folder / "many")}
    for number, (site, size) in enumerate(zip(sites.values(), (1000, stored), strict=True)):
        with site:
            run(site.hl7, messages(f"f{number}", 1), 1, False)
        first = f"f{number}000000"
        keys = (first, str(int(first, 36)))  # as they stand in its identifiers and in its UID
        fill(site.data / "broker.db", size, {key: f"'{key}.' || n.value" for key in keys})
    times: dict[str, list[float]] = {}
    with sites["1,000 stored"] as few, sites[f"{stored:,} stored"] as many:
        for site in (few, many):
            wait_until(lambda site=site: copied(site.data / "worklist-copy.db"), 120, "the worklist is copied")
            run(site.hl7, messages("w", 50), 1, False)  # caches of the first moments
        for number in range(rounds):
            for name in rotated(list(sites), number):
                whole, _ = run(sites[name].hl7, messages(f"g{chr(65 + number)}", count), 1, False)
                times.setdefault(name, []).append(whole)
    table(f"{count} orders more on 1 connection", times, "1,000 stored", count)
    asked(times, f"{stored:,} stored", [Target("1,000 stored", most=1.3)])


def main() -> None:
    """Run and print."""
    chosen = options(__doc__, count=1000, stored=1_000_000).parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        with quiet_site(folder / "broker") as site:
            for connections in (1, 16):
                beside_hl7apy(folder, site, connections, chosen.count, chosen.rounds)
        grown(folder, chosen.stored, chosen.count, chosen.rounds)


if __name__ == "__main__":
    main()
