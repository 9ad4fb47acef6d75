"""RL-02: many large objects at once stream through, and memory stays flat."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from support.dicom.objects import ct_slice
from support.dicom.raw import RawScu
from support.scale import scaled
from support.service.abuse import MIB, State
from support.service.site import Site

COUNT, SIZE = scaled(8, 100), scaled(12, 100) * MIB


def test_rl_02_large_objects_in_parallel_take_no_memory(site: Site) -> None:
    before = State.of(site)
    model = ct_slice(SIZE)

    def send(number: int) -> int | None:
        uid = f"{model.sop_instance[:-4]}{number + 1000}"
        data = model.data[:4096].replace(model.sop_instance.encode(), uid.encode()) + model.data[4096:]
        thing = type(model)(model.sop_class, uid, model.transfer_syntax, data)
        with RawScu(site.dicom, timeout=600) as modality:
            assert modality.associate([(thing.sop_class, thing.transfer_syntax)], calling=b"GOOD")[0] == 2
            return modality.store(thing, size=120_000)

    with ThreadPoolExecutor(COUNT) as pool:
        assert list(pool.map(send, range(COUNT))) == [0] * COUNT
    assert before.growth() < 48 * MIB
