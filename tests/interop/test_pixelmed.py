"""PixelMed (Debian: libpixelmed-java) in both roles. It has the five composite services and no others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.dicom.archive import Archive
from support.dicom.asking import Asking
from support.peers.talker import Talker, talker
from support.peers.tools import java_classes, wait_until, waits

from interop.cells import BROKER, PROVIDER, USER
from interop.running import Running

SOURCE = Path(__file__).parents[1] / "support" / "foreign" / "PixelMedPeer.java"
LIBRARIES = ("pixelmed", "vecmath", "commons-codec", "commons-net", "jmdns", "hsqldb", "slf4j-api", "slf4j-nop")
SERVICES = ["echo", "store", "find", "move", "get"]


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Talker]:
    folder = tmp_path_factory.mktemp("pixelmed") / "objects"
    options = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", java_classes(*LIBRARIES)]
    with talker(folder, ["java", *options, SOURCE]) as running:
        wait_until(lambda: waits(running.port), 20, "PixelMed listens")
        yield running


@pytest.mark.parametrize("service", BROKER)
def test_pixelmed_broker(service: str, peer: Talker, broker: Running, folder: Path) -> None:
    BROKER[service](peer, broker, folder)


@pytest.mark.parametrize("service", SERVICES)
def test_pixelmed_user(service: str, peer: Talker, ours: Archive, folder: Path) -> None:
    USER[service](peer, ours, folder)


@pytest.mark.parametrize("service", SERVICES)
def test_pixelmed_provider(service: str, peer: Talker, folder: Path) -> None:
    PROVIDER[service](peer, Asking(peer.port, "PIXELMED"), folder)
