"""Asks the broker over its control socket whether it lives (/health/live). Exit code 0: it does; 1: it does not.

The control socket speaks plain HTTP whatever `[web]` is set to: other ports and TLS make no difference.
"""

import os
import socket
import sys


def main() -> int:
    """The exit code."""
    with socket.socket(socket.AF_UNIX) as door:
        door.settimeout(4)
        try:
            door.connect(os.path.join(os.environ.get("BROKER_SERVICE__DATA_DIR", "/data"), "control.sock"))
            door.sendall(b"GET /health/live HTTP/1.1\r\nHost: broker\r\nConnection: close\r\n\r\n")
            answer = door.recv(4096)
        except OSError as error:
            print(f"the broker does not answer: {error.strerror or error}", file=sys.stderr)
            return 1
    first = answer.partition(b"\r\n")[0].split()
    if first[1:2] != [b"200"]:
        print("the broker does not say that it lives", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
