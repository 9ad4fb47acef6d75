"""Runs cases in one process without sockets, and looks after each: errors, time, tasks; after many: memory and files.

A case is a kind, a seed and a number; the same three make the same case again.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import MutableMapping
from dataclasses import asdict
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import psutil
import structlog

from broker import memory, telemetry
from fuzz import (
    acceptor_cases,
    command_cases,
    conversations,
    dataset_cases,
    hl7_alone,
    hl7_cases,
    http_cases,
    replies,
    requestor_cases,
)
from fuzz.conversations import Case
from fuzz.datasets import Sample
from fuzz.hl7_cases import Talk
from fuzz.hl7_door import Hl7Door
from fuzz.hl7_messages import CANARY
from fuzz.http_cases import Requests
from fuzz.http_door import HttpDoor
from fuzz.virtual import VirtualLoop

DICOM = ("pdu", "command", "dataset")
SHARES = {"pdu": 20, "command": 15, "dataset": 25, "hl7": 25, "http": 15}  # of 100 cases of a run of all kinds
KINDS = tuple(SHARES)
SLOW = 1.0  # seconds of processor time that a case may take
HELD = 0.25  # seconds of processor time in which the loop serves nobody else
MEMORY = "/dev/shm"  # where databases of doors are written
DOORS: dict[str, type[Hl7Door | HttpDoor]] = {"hl7": Hl7Door, "http": HttpDoor}
TALKS: dict[str, type[Talk | Requests]] = {"hl7": Talk, "http": Requests}
GROWTH = 30 * 1024 * 1024  # bytes that memory may grow by once warm
Payload = tuple[str, Any]  # what reads it, and what it reads


class Failure(Exception):
    """A case that went wrong."""


def kind_of(seed: int, number: int) -> str:
    """The kind of a case in a run of all kinds."""
    return Random(f"{seed}:{number}").choices(KINDS, tuple(SHARES.values()))[0]


def generate(kind: str, seed: int, number: int, rng: Random | None = None) -> Payload:
    """Make a case; `rng` from elsewhere makes another one."""
    rng = rng or Random(f"{seed}:{kind}:{number}")
    if kind == "http":
        return kind, http_cases.talk(rng, number)
    if kind == "hl7":
        return ("hl7-alone", hl7_cases.alone(rng, number)) if rng.randrange(8) else (kind, hl7_cases.talk(rng, number))
    if kind == "dataset":
        return dataset_cases.generate(rng, number)
    if kind == "command":
        if rng.randrange(2):
            return "acceptor", conversations.command_case(rng, number)
        return "command", command_cases.generate(rng)
    if rng.randrange(3):
        return "acceptor", conversations.acceptor_case(rng, number)
    return "requestor", replies.requestor_case(rng, number)


class _Counted(logging.Handler):
    """Counts what the web server logs: a line for each bad request, of which there are thousands."""

    def __init__(self, ended: Counter[str]) -> None:
        super().__init__(logging.WARNING)
        self._ended = ended

    def emit(self, record: logging.LogRecord) -> None:
        self._ended[f"web: {record.msg}"] += 1


class Harness:
    """See the module's text. One per process, since it takes the log and a timer."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None)
        self._doors: dict[str, Hl7Door | HttpDoor] = {}
        self._before = structlog.get_config()
        self.events: list[str] = []
        self.lines = 0
        self.ended: Counter[str] = Counter()
        structlog.configure(
            processors=[telemetry._redact, self._keep],
            wrapper_class=structlog.make_filtering_bound_logger(10),
            cache_logger_on_first_use=False,
        )
        self.loop = VirtualLoop()
        self.loop.set_exception_handler(self._unhandled)
        self._target = acceptor_cases.provider()
        self._process = psutil.Process()
        self.slowest = (0.0, "")
        self.held = 0.0
        self.spent: Counter[tuple[str, str]] = Counter()  # cases and seconds of the processor, by kind
        self._web = _Counted(self.ended)
        logging.getLogger("uvicorn.error").addHandler(self._web)
        logging.getLogger("uvicorn.error").propagate = False
        self._timer = signal.signal(signal.SIGVTALRM, self._hangs)
        gc.collect()  # what tests before this one have left open is not ours
        self.descriptors = self._process.num_fds()

    def close(self) -> None:
        """Give back what was taken."""
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, self._timer)
        self.loop.close()
        for door in self._doors.values():
            door.close()
        self._folder.cleanup()
        logging.getLogger("uvicorn.error").removeHandler(self._web)
        logging.getLogger("uvicorn.error").propagate = True
        structlog.configure(**self._before)

    def _keep(self, _: Any, level: str, event: MutableMapping[str, Any]) -> Any:
        name, error = str(event["event"]), str(event.get("error", ""))
        self.ended[f"{name} {event.get('reason') or event.get('answer') or error.partition(' ')[0]}"] += 1
        self.lines += 1
        if CANARY.casefold() in str(event).casefold():
            self.events.append(f"patient data in the log: {name}")
        if level in ("error", "critical") or (name == "dicom.failed" and "[" not in error):
            self.events.append(f"{level} {name} {error}")  # no BrokerError: those have a code
        raise structlog.DropEvent

    def _unhandled(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.events.append(f"loop {context.get('message')} {context.get('exception')!r}")

    def _hangs(self, _: int, frame: FrameType | None) -> None:
        raise Failure(f"over {5 * SLOW} s: " + "".join(traceback.format_stack(frame, 3)))

    def run(self, payload: Payload, name: str = "") -> None:
        """Run one case. Raises Failure, with the traceback of what went wrong as its cause."""
        if payload[0] in DOORS:
            self._at(payload[0])  # to open a door is no part of a case
        self.events.clear()
        self.lines = 0
        signal.setitimer(signal.ITIMER_VIRTUAL, 5 * SLOW)
        started = time.thread_time()
        try:
            self._check(*payload)
        except Exception as error:
            raise Failure(f"{type(error).__name__}: {error}") from error
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        took = time.thread_time() - started
        kind = name.partition(":")[0] or payload[0]
        self.spent[kind, "cases"] += 1
        self.spent[kind, "seconds"] += took
        self.slowest = max(self.slowest, (took, name))
        self._look()
        if took > SLOW:
            raise Failure(f"took {took:.2f} s")

    def _check(self, reader: str, thing: Any) -> None:
        if reader in DOORS:
            self._at(reader).check(thing)  # type: ignore[arg-type]
        elif reader == "hl7-alone":
            hl7_alone.check(thing)
        elif reader == "acceptor":
            self.loop.run_until_complete(acceptor_cases.check(self._target, thing))
        elif reader == "requestor":
            self.loop.run_until_complete(requestor_cases.check(self.loop, thing))
        elif reader == "command":
            command_cases.check(*thing)
        else:
            dataset_cases.check(reader, thing)

    def _at(self, reader: str) -> Hl7Door | HttpDoor:
        """The door of a kind, opened when a case comes."""
        if reader not in self._doors:
            self._doors[reader] = DOORS[reader](Path(self._folder.name))
            self._doors[reader].loop.set_exception_handler(self._unhandled)
            self._doors[reader].warm()
            gc.collect()
            self.descriptors = self._process.num_fds()
        return self._doors[reader]

    def _look(self) -> None:
        if self.events:
            raise Failure("; ".join(self.events))
        for loop in (self.loop, *(door.loop for door in self._doors.values())):
            if left := asyncio.all_tasks(loop):
                raise Failure(f"{len(left)} tasks are left: {left}")
        for reader, door in self._doors.items():
            held, door.loop.held = door.loop.held, 0.0
            self.held = max(self.held, held)
            if held > HELD:
                raise Failure(f"{reader}: one turn of the loop took {held:.2f} s")

    def settle(self) -> int:
        """After many cases: the provider answers, nothing is open; bytes of memory in use. Raises Failure."""
        self.events.clear()
        said = self.loop.run_until_complete(acceptor_cases.converse(self._target, acceptor_cases.ECHO))
        if acceptor_cases.answers(said) != [0]:
            raise Failure("no answer to C-ECHO any more")
        gc.collect()
        memory.trim()  # as the broker does: large bodies leave 50 MiB of free memory behind
        self._look()
        for role in ("provider", "user"):
            if telemetry.ASSOCIATIONS.labels(role)._value.get():
                raise Failure(f"the gauge counts associations that are gone ({role})")
        if self._process.num_fds() > self.descriptors + 4 * len(self._doors):  # fewer: what tests before had left open
            raise Failure(f"{self._process.num_fds()} descriptors, {self.descriptors} before")
        return int(self._process.memory_info().rss)


def dump(path: Path, payload: Payload, failure: Failure, name: str) -> None:
    """Write a case to a file that `load` reads."""
    reader, thing = payload
    if reader == "hl7-alone":
        fields: Any = {"pieces": thing}
    else:
        fields = (
            asdict(thing)
            if isinstance(thing, Case | Sample | Talk | Requests)
            else {"data": thing[0], "field": thing[1]}
        )
    text = "".join(traceback.format_exception(failure.__cause__ or failure))
    content = {"case": name, "failure": str(failure), "trace": text, "reader": reader, "fields": fields}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, default=lambda value: {"hex": value.hex()}, indent=1), encoding="utf-8")


def load(path: Path) -> Payload:
    """A case from a file."""
    content = json.loads(path.read_text(encoding="utf-8"), object_hook=_bytes)
    reader, fields = content["reader"], content["fields"]
    if reader == "command":
        return reader, (fields["data"], fields["field"])
    if reader == "hl7-alone":
        return reader, tuple(fields["pieces"])
    if reader in DOORS:
        return reader, TALKS[reader](**{key: tuple(v) if isinstance(v, list) else v for key, v in fields.items()})
    if "says" in fields:
        return reader, Case(**{**fields, "says": tuple(tuple(turn) for turn in fields["says"])})
    return reader, Sample(**fields)


def _bytes(value: dict[str, Any]) -> Any:
    return bytes.fromhex(value["hex"]) if list(value) == ["hex"] else value
