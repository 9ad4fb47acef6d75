"""Texts under right, wrong and missing labels: what is read is the text that was meant, or a finding says otherwise.

`BROKER_FULL=1` runs 3,000 random names of each kind, and 10,000 examples of the property; else 200.
"""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.hl7.scripts import GENUINE, LABELS, SCRIPTS, Pair, holds, pair, raw_message
from support.scale import scaled

from broker.hl7.findings import MalformedMessage
from broker.hl7.text import decoding
from broker.hl7.text.decoding import Decoded, Doubt

COUNT = scaled(200, 3000)
CODECS = sorted({codec for _, _, codec in GENUINE} | {"cp1252", "cp1253", "cp1254", "cp1257", "euc_jp"})


def shows(found: Decoded, text: Pair) -> bool:
    """Name and exam stand in their places."""
    return f"|{text[0]}|" in found.text and f"^{text[1]}^" in found.text


def read(label: str, text: Pair, codec: str) -> str:
    """What becomes of a text: `right` or `wrong`, with why it was in doubt; `refused`."""
    try:
        found = decoding.decode(raw_message(label, text, codec))
    except MalformedMessage:
        return "refused"
    assert bool(found.doubt) <= bool(found.findings)
    return f"{'right' if shows(found, text) else 'wrong'} {found.doubt}".strip()


def tally(script: str, label: str, codec: str) -> Counter[str]:
    """What becomes of random texts of a script."""
    random = Random(f"{script}{label}{codec}")
    texts = (pair(script, random) for _ in range(COUNT))
    return Counter(read(label, text, codec) for text in texts if holds(codec, text) and not "".join(text).isascii())


@pytest.mark.parametrize(("script", "label", "codec"), GENUINE)
def test_what_is_labelled_rightly_is_read_as_it_says(script: str, label: str, codec: str) -> None:
    found = tally(script, label, codec)
    assert set(found) <= {"right", "right ambiguous"}
    assert found["right ambiguous"] <= found.total() * 0.02


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("label", [label for label in LABELS if "UTF-8" not in label])
def test_utf_8_under_any_other_label_is_never_read_otherwise_without_a_finding(script: str, label: str) -> None:
    found = tally(script, label, "utf-8")
    assert set(found) <= {"right mislabelled", "right guessed", "wrong ambiguous"}
    assert found["wrong ambiguous"] <= found.total() * 0.02


@pytest.mark.parametrize(
    ("label", "codec", "text"),
    [
        ("8859/1", "cp1252", "Œuvre^’t"), ("8859/2", "cp1250", "Šimek^Žofie"), ("8859/4", "cp1257", "Kalniņš – A"),
        ("8859/5", "cp1251", "Иванова – А"), ("8859/6", "cp1256", "پتر"), ("8859/7", "cp1253", "ΤΕΣΤ – Α"),
        ("8859/8", "cp1255", "כהן – א"), ("8859/9", "cp1254", "Œst^ŞULE"), ("8859/13", "cp1257", "Žagata – Š"),
        ("8859/15", "cp1252", "Žofie^Œ"), ("8859/16", "cp1250", "Ştefan – A"), ("8859/11", "cp874", "สมชาย – ก"),
        ("8859/1~ISO IR87", "cp1252", "Zoé – A"), ("ISO IR14", "cp932", "髙橋^太郎"),
        ("KS X 1001", "cp949", "똠방^각하"), ("8859/5", "cp1251", "ИВАНОВА^АННА"), ("BIG-5", "latin_1", "Zoé^A"),
        ("GB 18030-2000", "latin_1", "MÜLLER^ZOÉ"),
    ],
)  # fmt: skip
def test_a_windows_code_page_under_another_name_is_read_with_a_finding(label: str, codec: str, text: str) -> None:
    found = decoding.decode(raw_message(label, (text, "CT"), codec))
    assert shows(found, (text, "CT"))
    assert (found.doubt, [(f.location, f.severity) for f in found.findings if f.code == "102"]) == (
        Doubt.MISLABELLED, [("MSH^1^18", "W")],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("script", "codec"),
    [
        ("russian", "cp1251"), ("russian", "koi8_r"), ("greek", "cp1253"), ("hebrew", "cp1255"), ("arabic", "cp1256"),
        ("thai", "cp874"), ("simplified", "gb2312"), ("korean", "euc_kr"),
    ],
)  # fmt: skip
def test_another_script_under_the_name_of_latin_1_is_doubted(script: str, codec: str) -> None:
    found = tally(script, "8859/1", codec)
    assert set(found) <= {"wrong ambiguous", "wrong", "wrong mislabelled", "refused"}
    assert found["wrong"] <= found.total() * 0.1  # the shortest of them


@pytest.mark.parametrize(
    ("text", "codec", "doubt"),
    [
        ("ШИ", "big5", Doubt.AMBIGUOUS), ("ЖИ", "big5hkscs", Doubt.AMBIGUOUS), ("ШИ", "big5hkscs", Doubt.NONE),
        ("ヌネ", "cp950", Doubt.AMBIGUOUS),
        ("測試", "big5", Doubt.NONE), ("測‧試", "cp950", Doubt.NONE), ("啟㗎", "big5hkscs", Doubt.NONE),
    ],
)  # fmt: skip
def test_letters_that_two_tables_of_big5_place_elsewhere_are_doubted(text: str, codec: str, doubt: Doubt) -> None:
    raw = raw_message("BIG-5", ("X", "CT"), "ascii").replace(b"|X|", b"|" + text.encode(codec, "ignore") + b"|")
    assert decoding.decode(raw).doubt == doubt


@pytest.mark.parametrize(("label", "data"), [("8859/1", b"\x81"), ("8859/3", b"\x8a"), ("8859/2", b"\x81\xe9")])
def test_controls_that_no_code_page_has_are_refused(label: str, data: bytes) -> None:
    raw = raw_message(label, ("X", "CT"), "ascii").replace(b"|X|", b"|" + data + b"|")
    if label == "8859/3":  # no Windows code page is like it: the controls stay what they are
        assert decoding.decode(raw).text
        return
    with pytest.raises(MalformedMessage):
        decoding.decode(raw)


@pytest.mark.parametrize(
    ("label", "codec"),
    [
        ("GBK", "gbk"), ("GB2312", "gb2312"), ("gb-2312", "gb2312"), ("CP936", "gbk"), ("WIN-1250", "cp1250"),
        ("WINDOWS-1252", "cp1252"), ("windows 1251", "cp1251"), ("CP1253", "cp1253"), ("WIN1254", "cp1254"),
        ("CP932", "cp932"), ("MS932", "cp932"), ("SJIS", "shift_jis"), ("Shift_JIS", "shift_jis"),
        ("Windows-31J", "cp932"), ("8859/13", "iso8859_13"), ("8859/16", "iso8859_16"), ("ISO-8859-10", "iso8859_10"),
        ("KOI8-R", "koi8_r"), ("EUC-KR", "euc_kr"), ("KS_C_5601-1987", "cp949"), ("EUC-JP", "euc_jp"),
        ("TIS-620", "tis_620"), ("BIG5", "big5"), ("CP850", "cp850"), ("IBM852", "cp852"), ("866", None),
        ("ISO_IR 100", "latin_1"), ("ISO 2022 IR 87", "iso2022_jp"), ("ISO_IR 192", "utf-8"), ("LATIN1", "latin_1"),
        ("CP65001", "utf-8"), ("UNICODE UTF-16", None), ("CNS 11643-1992", None), ("KLINGON", None),
    ],
)  # fmt: skip
def test_names_that_table_0211_lacks(label: str, codec: str | None) -> None:
    if codec is None:
        assert read(label, ("X", "Y"), "ascii") == "refused"
        return
    texts = ("测试^小明", "試験^太郎", "김^철수", "Ивано^Анна", "สมชาย", "Žofie^Ž", "Müller", "ΑΝΝΑ")
    text = next(text for text in texts if holds(codec, (text, "")))
    found = decoding.decode(raw_message(label, (text, "CT"), codec))
    assert shows(found, (text, "CT"))
    assert [(f.location, f.code, f.severity) for f in found.findings] == [("MSH^1^18", "103", "W")]


@pytest.mark.parametrize(
    ("text", "doubted"),
    [
        ("MÃ¼LLER^ZOÃ‰", True), ("Ð˜Ð²Ð°Ð½", True), ("æ¸¬^å°æ˜Ž", True), ("MÜLLER^ZOÉ", False), ("GARÇÃO", False),
        ("测^小明", False), ("Иванова", False), ("ÄÖÜ – «É»", False), ("L’Été", False),
    ],
)  # fmt: skip
def test_utf_8_that_was_encoded_twice_is_doubted(text: str, doubted: bool) -> None:
    found = decoding.decode(raw_message("UNICODE UTF-8", (text, "CT"), "utf-8"))
    assert shows(found, (text, "CT"))
    assert bool(found.findings) is doubted


def test_a_guess_is_always_a_finding() -> None:
    for text, codec, guess in (
        ("Zoé", "utf-8", "UTF-8"), ("Zoé", "latin_1", "Windows-1252"), ("Иванова", "cp1251", "Windows-1252"),
        ("山", "iso2022_jp", "escape sequences"),
    ):  # fmt: skip
        found = decoding.decode(raw_message("", (text, "CT"), codec))
        assert [(f.location, f.severity, guess in f.text) for f in found.findings] == [("MSH^1^18", "W", True)]
        assert found.doubt == Doubt.GUESSED
    assert decoding.decode(raw_message("", ("DOE", "CT"), "ascii")).findings == ()


def test_a_set_that_msh_19_names_is_the_guess_and_has_a_finding() -> None:
    found = decoding.decode(raw_message("|GB 18030-2000", ("测^明", "头"), "gb18030"))
    assert shows(found, ("测^明", "头"))
    assert [f.location for f in found.findings] == ["MSH^1^19", "MSH^1^18"]
    assert decoding.decode(raw_message("|FR^French^ISO639", ("Zoé", "CT"), "utf-8")).doubt == Doubt.GUESSED
    assert [f.location for f in decoding.decode(raw_message("|8859/1", ("A", "CT"), "ascii")).findings] == ["MSH^1^19"]
    assert decoding.decode(raw_message("|FR", ("A", "CT"), "ascii")).findings == ()


@given(
    st.sampled_from(SCRIPTS), st.sampled_from([*LABELS]), st.sampled_from(["right", "utf-8", "missing"]),
    st.integers(0, 2**32),
)  # fmt: skip
@settings(max_examples=scaled(200, 10_000), deadline=None)
def test_the_text_or_a_finding(script: str, label: str, kind: str, seed: int) -> None:
    """L1 and L7 for labels that are right, missing, or stand over UTF-8."""
    text = pair(script, Random(seed))
    codec = {"right": LABELS[label], "utf-8": "utf-8", "missing": CODECS[seed % len(CODECS)]}[kind]
    if not holds(codec, text):
        return
    outcome = read("" if kind == "missing" else label, text, codec)
    assert outcome == "right" or outcome.split()[-1] in ("refused", *(doubt for doubt in Doubt if doubt))
