"""Ten queries as devices send them, by DCMTK, pynetdicom, dcmjs-dimse; names of many scripts from order to device."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID
from pynetdicom import AE
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation
from support.peers.peers import association
from support.peers.talker import Talker, talker
from support.peers.tools import node_modules, run
from support.service.site import Mllp, Site, order
from support.worklist.worklist import DATE, DEVICES, EXPLICIT, IMPLICIT, SPS, STATION, TIME, dataset
from support.worklist.worklist_table import ROWS

from broker.dicom import uids

SCRIPT = Path(__file__).parents[1] / "support" / "foreign" / "dcmjs_peer.js"
JAPANESE = "YAMADA^TARO=山田^太郎=ヤマダ^タロウ"
NEVER_SENT = {"QueryRetrieveLevel"}  # of the keys that are no attributes of a worklist


def _everything() -> dict[Any, Any]:
    """Every attribute of the model at once."""
    step = {row.keyword: [] if row.vr == "SQ" else "" for row in ROWS if row.path[0] == SPS and len(row.path) == 2}
    root = {row.keyword: [] if row.vr == "SQ" else None if row.vr == "US" else "" for row in ROWS if len(row.path) == 1}
    return {**root, SPS: [{**step, STATION: "DX1", DATE: "20260401", "Modality": "DX"}]}


MORE: dict[str, tuple[dict[Any, Any], list[str] | None, bool]] = {
    "x-ray, everything": (_everything(), ["ISO_IR 192"], False),
    "mammography, by patient": (
        {"PatientID": "QZPAT5", "PatientName": "", "PatientBirthDate": "", "OtherPatientIDsSequence": [],
         SPS: [{"Modality": "MG", STATION: "", "ScheduledProtocolCodeSequence": [{"CodeValue": ""}]}]},
        ["ISO_IR 100"], True,
    ),
    "ultrasound, private keys": (
        {"PatientName": "", "PatientID": "", 0x00090010: ("LO", "VENDOR"), 0x00091001: ("DS", ""),
         0x00091002: ("UN", b""), 0x00091003: [{}],
         SPS: [{STATION: "US1", 0x00290010: ("LO", "VENDOR"), 0x00291001: ("SH", "")}]},
        None, False,
    ),
}  # fmt: skip
QUERIES = {**DEVICES, **MORE}
DX = "A26031200451"
FOUND = {
    "ct broad": {"A1"}, "mr range": {"A1"}, "ultrasound by name": {"A3"}, "barcode": {DX}, "mammography": {"A3", "A5"},
    "c-arm": {"A1", "A5", "A7", DX}, "old device": {"A1", "A7"}, "x-ray, everything": {DX},
    "mammography, by patient": {"A5"}, "ultrasound, private keys": {"A3"},
}  # fmt: skip
# script: MSH-18 and codec of the order, the name, character sets that devices of that script ask for
NAMES: dict[str, tuple[str, str, str, list[list[str]]]] = {
    "latin 1": ("8859/1", "latin_1", "Müller^Käthe", [["ISO_IR 100"], ["ISO 2022 IR 100", "ISO 2022 IR 126"]]),
    "latin 2": ("8859/2", "iso8859_2", "Łódź^Żaneta", [["ISO_IR 101"]]),
    "latin 5": ("8859/9", "iso8859_9", "Yılmaz^Şükrü", [["ISO_IR 148"]]),
    "cyrillic": ("8859/5", "iso8859_5", "Щукин^Пётр", [["ISO_IR 144"]]),
    "greek": ("8859/7", "iso8859_7", "Παπαδάκης^Ελένη", [["ISO_IR 126"]]),
    "arabic": ("8859/6", "iso8859_6", "أحمد^علي", [["ISO_IR 127"]]),
    "hebrew": ("8859/8", "iso8859_8", "כהן^דוד", [["ISO_IR 138"]]),
    "thai": ("UNICODE UTF-8", "utf_8", "สมชาย^ใจดี", [["ISO_IR 166"]]),
    "japanese": (
        "~ISO IR87", "iso2022_jp", JAPANESE,
        [["", "ISO 2022 IR 87"], ["", "ISO 2022 IR 87", "ISO 2022 IR 159"]],
    ),
    "korean": ("KS X 1001", "euc_kr", "Hong^Gildong=洪^吉洞=홍^길동", [["", "ISO 2022 IR 149"]]),
    "chinese": ("GB 18030-2000", "gb18030", "Wang^XiaoDong=王^小东", [["GB18030"], ["GBK"], ["", "ISO 2022 IR 58"]]),
}  # fmt: skip
CASES = [(script, asked) for script, (*_, sets) in NAMES.items() for asked in [*sets, ["ISO_IR 192"]]]


def _xpn(name: str) -> str:
    return "~".join(f"{group}^^^^^L^{kind}" for group, kind in zip(name.split("="), "AIP", strict=False))


def _in(text: str, declared: str, codec: str) -> bytes:
    return text.replace("|UNICODE UTF-8", f"|{declared}").encode(codec)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One broker with an order for each device, and one for each script, sent in the character set of its RIS."""
    steps = [
        order(1, station="CT01", start="20260312100000"),
        order(3, modality="US", station="US1", start="20260311090000", name="LEFÈVRE^ANNE"),
        order(5, modality="MG", station="MG1", start="20260313090000"),
        order(7, modality="XA", station="CARM", start="20260312140000", name=_xpn(JAPANESE)),
        order(26031200451, modality="DX", station="DX1", start="20260401080000"),
    ]
    with Site(tmp_path_factory.mktemp("queries")) as one:
        with Mllp(one.hl7) as ris:
            for text in steps:
                assert ris.exchange(text)["MSA"][0][1] == "AA"
            for number, (declared, codec, name, _) in enumerate(NAMES.values(), 100):
                text = order(number, station=f"S{number}", start="20250101100000", name=_xpn(name))
                assert ris.exchange(_in(text, declared, codec))["MSA"][0][1] == "AA", declared
        yield one


@pytest.fixture(scope="module")
def dcmjs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Talker]:
    folder = tmp_path_factory.mktemp("dcmjs") / "objects"
    with talker(folder, ["node", SCRIPT], more={"NODE_PATH": node_modules("dcmjs-dimse")}) as running:
        yield running


def _asked(device: str) -> tuple[dict[Any, Any], list[str] | None, bool]:
    keys, charset, implicit = QUERIES[device]
    return {"AccessionNumber": "", **keys}, charset, implicit


def _identifier(keys: dict[Any, Any], charset: list[str] | None) -> Dataset:
    made = dataset(keys)
    if charset is not None:
        made.SpecificCharacterSet = charset
    return made


def _only_what_was_asked(found: Dataset, keys: dict[Any, Any]) -> None:
    """Exactly the keys of the request, level by level, but for the character set."""
    names = {key if isinstance(key, str) else keyword_for_tag(key) or f"{key:08x}" for key in keys}
    names = {name for name in names if name not in NEVER_SENT and not name.endswith("0000")}
    there = {element.keyword or f"{int(element.tag):08x}" for element in found}
    assert there - {"SpecificCharacterSet"} == names
    for key, value in keys.items():
        if isinstance(value, list) and value and isinstance(value[0], dict) and value[0]:
            for item in found[key].value:
                _only_what_was_asked(item, value[0])


def _accessions(answers: list[Dataset]) -> set[str]:
    return {str(answer.AccessionNumber) for answer in answers}


@pytest.mark.parametrize("device", QUERIES)
def test_pynetdicom(device: str, site: Site) -> None:
    keys, charset, implicit = _asked(device)
    with association(site.dicom, [(uids.MODALITY_WORKLIST, IMPLICIT if implicit else EXPLICIT)]) as made:
        found = list(made.send_c_find(_identifier(keys, charset), uids.MODALITY_WORKLIST))
    assert found[-1][0].Status == 0
    answers = [answer for _, answer in found[:-1]]
    assert _accessions(answers) == FOUND[device]
    for answer in answers:
        _only_what_was_asked(answer, keys)
        assert len(answer[SPS].value) == 1
    private = any(isinstance(key, int) and key >> 16 & 1 for key in keys)
    assert {status.Status for status, _ in found[:-1]} == {0xFF01 if private else 0xFF00}


def _query_file(path: Path, identifier: Dataset, implicit: bool) -> Path:
    identifier.file_meta = FileMetaDataset()
    identifier.file_meta.MediaStorageSOPClassUID = UID(uids.MODALITY_WORKLIST)
    identifier.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3")
    identifier.file_meta.TransferSyntaxUID = UID(IMPLICIT if implicit else EXPLICIT)
    identifier.save_as(path, enforce_file_format=True)
    return path


def _findscu(site: Site, identifier: Dataset, implicit: bool, folder: Path) -> list[Path]:
    """The files of DCMTK's findscu of the answers."""
    file = _query_file(folder / "query.dcm", identifier, implicit)
    out = folder / "answers"
    out.mkdir()
    syntax = "-xi" if implicit else "-xe"
    done = run("findscu", "-W", syntax, "-X", "-od", out, "-aec", "BROKER", "127.0.0.1", str(site.dicom), file)
    assert done.returncode == 0, done.stdout
    return sorted(out.iterdir())


@pytest.mark.parametrize("device", QUERIES)
def test_dcmtk(device: str, site: Site, tmp_path: Path) -> None:
    keys, charset, implicit = _asked(device)
    files = _findscu(site, _identifier(keys, charset), implicit, tmp_path)
    answers = [dcmread(file, force=True) for file in files]
    assert _accessions(answers) == FOUND[device]
    for answer in answers:
        _only_what_was_asked(answer, keys)
    printed = run("dcmdump", "-v", *files)
    assert printed.returncode == 0
    assert not re.search("^[WEF]: ", printed.stdout, re.MULTILINE), printed.stdout


@pytest.mark.parametrize("device", QUERIES)
def test_dcmjs(device: str, site: Site, dcmjs: Talker) -> None:
    """But for what it cannot send: private keys, old forms of dates, and an empty Pregnancy Status (a zero)."""
    keys, charset, implicit = _asked(device)
    keys = {key: value for key, value in keys.items() if isinstance(key, str) and key != "PregnancyStatus"}
    keys[SPS] = [{key: value for key, value in item.items() if isinstance(key, str)} for item in keys[SPS]]
    if DATE in keys[SPS][0]:
        keys[SPS][0][DATE] = keys[SPS][0][DATE].replace(".", "")
    sent = {**keys, **({"SpecificCharacterSet": "\\".join(charset)} if charset else {})}
    lines = dcmjs.ask("query", site.dicom, "BROKER", IMPLICIT if implicit else EXPLICIT, json.dumps(sent))
    assert lines[-1] == ["0000"]
    answers = [json.loads(line[1]) for line in lines[:-1]]
    assert {answer["AccessionNumber"] for answer in answers} == FOUND[device]
    for answer in answers:
        there = {name for name in answer if not name.startswith("_")} - {"SpecificCharacterSet"}
        assert there == set(keys) - NEVER_SENT


def test_dcmjs_worklist_by_default_asks_for_patients_who_are_not_pregnant(site: Site, dcmjs: Talker) -> None:
    """Known: an empty US becomes a zero in its encoder, and a zero is a value to match."""
    asked = json.dumps({"AccessionNumber": "", "PregnancyStatus": ""})
    assert dcmjs.ask("query", site.dicom, "BROKER", IMPLICIT, asked) == [["0000"]]


@pytest.mark.parametrize(("script", "asked"), CASES, ids=[f"{s}-{'+'.join(a)}" for s, a in CASES])
def test_a_name_survives_from_order_to_device(script: str, asked: list[str], site: Site) -> None:
    """In the character set the device asks for; and it is found by that name, and by its beginning, in that set."""
    number, name = 100 + list(NAMES).index(script), NAMES[script][2]
    first = name.split("=")[-1]
    with association(site.dicom, [(uids.MODALITY_WORKLIST, IMPLICIT)]) as made:
        for key in ("", name, first, f"{first[:2]}*"):
            wanted = _identifier({"PatientName": key, SPS: [{STATION: f"S{number}"}]}, asked)
            found = list(made.send_c_find(wanted, uids.MODALITY_WORKLIST))
            assert [status.Status for status, _ in found] == [0xFF00, 0], key
            answer = found[0][1]
            answer.decode()
            terms = answer.SpecificCharacterSet
            assert ([terms] if isinstance(terms, str) else [str(term or "") for term in terms]) == asked
            assert str(answer.PatientName).replace("\x1b$)A", "") == name  # pydicom leaves the escapes of IR 58


@pytest.mark.parametrize("script", NAMES)
def test_dcmtk_converts_every_name(script: str, site: Site, tmp_path: Path) -> None:
    """But for Japanese by escapes, which Debian's dcmdump cannot convert; it prints them without complaint."""
    number, name = 100 + list(NAMES).index(script), NAMES[script][2]
    for place, asked in enumerate(NAMES[script][3]):
        folder = tmp_path / str(place)
        folder.mkdir()
        wanted = _identifier({"PatientName": "", SPS: [{STATION: f"S{number}"}]}, asked)
        files = _findscu(site, wanted, False, folder)
        converts = script != "japanese"
        printed = run("dcmdump", "-v", *(["+U8"] if converts else []), *files)
        shown = name if converts else name.split("=")[0]
        assert f"[{shown}" in printed.stdout, printed.stdout
        assert not re.search("^[WEF]: ", printed.stdout, re.MULTILINE), printed.stdout


def _negotiated(site: Site, offered: bytes, keys: dict[Any, Any]) -> tuple[bytes | None, list[Dataset]]:
    """The answer to extended negotiation, and what a query finds then."""
    asked = SOPClassExtendedNegotiation()
    asked.sop_class_uid = UID(uids.MODALITY_WORKLIST)
    asked.service_class_application_information = offered
    ae = AE("NEGOTIATES")
    ae.add_requested_context(uids.MODALITY_WORKLIST, IMPLICIT)
    made = ae.associate("127.0.0.1", site.dicom, ae_title="BROKER", ext_neg=[asked])
    try:
        assert made.is_established
        answers = {str(uid): information for uid, information in made.acceptor.sop_class_extended.items()}
        found = list(made.send_c_find(dataset({"AccessionNumber": "", **keys}), uids.MODALITY_WORKLIST))
        assert found[-1][0].Status == 0
        return answers.get(uids.MODALITY_WORKLIST), [answer for _, answer in found[:-1]]
    finally:
        made.release()


def test_what_pynetdicom_negotiates_holds_for_its_association(site: Site) -> None:
    """Fuzzy names, the time zone of the device, empty values: only where they were asked for."""
    alike = {"PatientName": "MUELLER^KETHE", SPS: [{STATION: "CT01"}]}
    answer, found = _negotiated(site, b"\1\1\1", alike)
    assert (answer, _accessions(found)) == (b"\1\1\1", {"A1"})
    assert _negotiated(site, b"\1\1\0\1", alike) == (b"\1\1\0\1", [])
    early = {"TimezoneOffsetFromUTC": "+0000", SPS: [{STATION: "CT01", DATE: "20260312", TIME: "090000"}]}
    answer, found = _negotiated(site, b"\1\1\0\1", early)
    assert (answer, _accessions(found)) == (b"\1\1\0\1", {"A1"})
    assert (found[0].TimezoneOffsetFromUTC, found[0][SPS][0][TIME].value) == ("+0000", "090000")
    assert _negotiated(site, b"\1\1\1", early)[1] == []
    empty = {"AdmittingDiagnosesDescription": '""', SPS: [{STATION: "CT01"}]}
    answer, found = _negotiated(site, b"\1\1\0\0\0\1\1", empty)
    assert (answer, _accessions(found)) == (b"\1\1\0\0\0\1\1", {"A1"})
