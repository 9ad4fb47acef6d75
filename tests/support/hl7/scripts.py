"""Random names and exams in many scripts, and messages of them in the bytes of any character set. All invented."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from random import Random

Pair = tuple[str, str]  # a patient's name with `^` between its parts, and an exam

_LATIN = {
    "french": ("Éric Zoé François Hélène Noël Anaïs LEFÈVRE BÉRÉNICE DUPRÉ Benoît CÔTÉ", "crâne Échographie MÂCHOIRE"),
    "german": ("Müller Weiß JÜRGEN ÄNNE Björn Käthe KÖNIG", "Schädel RÖNTGEN Übersicht Hüfte"),
    "spanish": ("José MUÑOZ García ÁNGEL Núñez ÍÑIGO", "Cráneo TÓRAX AÑO"),
    "polish": ("Łukasz Żaneta ŚWIĄTEK RÓŻA WÓJCIK GŁĄB Bąk ŻÓŁĆ", "Głowa KOŚĆ płuc MÓZG"),
    "czech": ("Řehoř Šimek Žofie JIŘÍ ČERNÝ Dvořák ŇÁK", "KOLENO LEVÉ Břicho Páteř"),
    "hungarian": ("Győző ŐRI Szűcs ÁRVÍZ ÜTŐ", "Fej TÜDŐ"),
    "turkish": ("Şule ÇAĞLA İnci Gülşen ÖZGÜR", "Baş GÖĞÜS"),
    "latvian": ("Jānis Ķirsis ŠŅORE Ēriks Ģirts", "Galva PLAUŠAS"),
    "russian": (
        "Иванова Анна ПЕТРОВ Наталья Тарас ЛЕСЯ ШУРА Галина Жданов ЮЩЕНКО Цой ШИ Ёлкин ФЁДОР Чехова Эльза ЮЛИЯ",
        "Череп ГРУДЬ головы",
    ),
    "greek": ("Γιώργος ΜΑΡΙΑ ΝΊΚΟΣ Ελένη ΆΝΝΑ Όλγα", "Θώρακας ΚΡΑΝΊΟ"),
    "hebrew": ("כהן לוי שרה דוד אברהם", "ראש חזה"),
    "arabic": ("محمد علي فاطمة حسن", "صدر راس"),
    "thai": ("สมชาย ใจดี สุดา มานะ", "ทรวงอก ศีรษะ"),
}
_EASTERN = {
    "simplified": (
        "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶余潘杜戴夏钟",
        "头颅部胸腹盆腔脊柱颈椎腰膝关节肩踝髋平扫增强正位侧双左右上下肢心脏冠状动脉肺肝胆胰脾肾",
        ("gb2312", 0xB0, 0xD7),
    ),
    "traditional": (
        "陳林黃張李王吳劉蔡楊許鄭謝洪郭邱曾廖賴徐周葉蘇莊呂江何蕭羅高潘簡朱鍾彭游詹胡施沈余盧",
        "頭部胸腹骨盆腔脊椎頸腰膝關節肩踝平掃對比正側位雙左右上下肢心臟冠狀動脈肺肝膽胰脾腎",
        ("big5", 0xA4, 0xC5),
    ),
    "japanese": (
        "佐藤鈴木高橋田中伊渡辺山本村小林加吉測右東", "頭部胸腹単純造影正面側撮右左膝肩盤両", ("euc_jp", 0xB0, 0xCF),
    ),
    "korean": (
        "김이박최정강조윤장임한오서신권황안송류전홍고문양손배백허", "흉복두촬영정면측조초음파릎어깨골반양우좌",
        ("euc_kr", 0xB0, 0xC8),
    ),
}  # fmt: skip
# codec, label and script of texts that are what their label says
GENUINE: tuple[tuple[str, str, str], ...] = (
    ("simplified", "GB 18030-2000", "gb18030"), ("simplified", "GBK", "gbk"), ("traditional", "BIG-5", "big5"),
    ("japanese", "ISO IR14", "shift_jis"), ("japanese", "CP932", "cp932"), ("japanese", "EUC-JP", "euc_jp"),
    ("japanese", "~ISO IR87", "iso2022_jp"), ("korean", "KS X 1001", "euc_kr"), ("korean", "CP949", "cp949"),
    ("french", "8859/1", "latin_1"), ("german", "8859/1", "latin_1"), ("spanish", "8859/1", "latin_1"),
    ("french", "8859/15", "iso8859_15"), ("polish", "8859/2", "iso8859_2"), ("czech", "8859/2", "iso8859_2"),
    ("hungarian", "8859/2", "iso8859_2"), ("latvian", "8859/4", "iso8859_4"), ("russian", "8859/5", "iso8859_5"),
    ("arabic", "8859/6", "iso8859_6"), ("greek", "8859/7", "iso8859_7"), ("hebrew", "8859/8", "iso8859_8"),
    ("turkish", "8859/9", "iso8859_9"), ("latvian", "8859/13", "iso8859_13"), ("polish", "WIN-1250", "cp1250"),
    ("russian", "WIN-1251", "cp1251"), ("russian", "KOI8-R", "koi8_r"), ("thai", "TIS-620", "tis_620"),
    ("russian", "UNICODE UTF-8", "utf-8"), ("simplified", "UNICODE UTF-8", "utf-8"),
)  # fmt: skip
SCRIPTS = (*_LATIN, *_EASTERN)


@cache
def _rows(codec: str, first: int, last: int) -> tuple[str, ...]:
    """Characters of two bytes with these lead bytes."""
    pairs = (bytes((lead, trail)) for lead in range(first, last + 1) for trail in range(0x40, 0xFF))
    found = (pair.decode(codec, "ignore") for pair in pairs)
    return tuple(text for text in found if len(text) == 1 and text > "\u2fff")


def pair(script: str, random: Random) -> Pair:
    """A name and an exam of a script; the exam is plain ASCII now and then."""
    if script in _LATIN:
        names, exams = (text.split() for text in _LATIN[script])
        return f"{random.choice(names)}^{random.choice(names)}", _exam(random, lambda: random.choice(exams))
    families, exams_of, rows = _EASTERN[script]
    given = "".join(random.choice(_rows(*rows)) for _ in range(random.choice((1, 2, 2))))
    mark = random.choice(("^", ""))
    exam = _exam(random, lambda: "".join(random.choice(exams_of) for _ in range(random.randint(1, 6))))
    return f"{random.choice(families)}{mark}{given}", exam


def _exam(random: Random, make: Callable[[], str]) -> str:
    return make() if random.random() < 0.8 else "CT CHEST"


def raw_message(label: str, text: Pair, codec: str, *, patient: str = "1", version: str = "2.5.1") -> bytes:
    """An order of a name and an exam in the bytes of a codec, with `label` as MSH-18."""
    name, exam = text
    head = f"MSH|^~\\&|RIS|SITE|BROKER|RAD|20300101080000||ORM^O01|{patient}|P|{version}||||||{label}\r"
    parts = (f"PID|1||{patient}^^^SITE||", f"||19700101|F\rORC|NW|P{patient}\rOBR|1|P{patient}||T^", "^99SYN")
    rest = f"||||||||||||||A{patient}|R{patient}|S{patient}||||CT\r"
    return (
        (head + parts[0]).encode()
        + name.encode(codec)
        + parts[1].encode()
        + exam.encode(codec)
        + (parts[2] + rest).encode()
    )


def holds(codec: str, text: Pair) -> bool:
    """True if a codec has all characters of a pair."""
    try:
        "".join(text).encode(codec)
    except UnicodeEncodeError:
        return False
    return True


LABELS: Mapping[str, str] = {label: codec for _, label, codec in GENUINE} | {"ASCII": "ascii", "": "ascii"}
