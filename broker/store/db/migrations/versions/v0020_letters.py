"""Names are found without the strokes of letters: ł as l, ø as o, æ as ae. Copies of the worklist see the revision."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

# as `dicom.dataset.transliterate` had them at this revision; the column holds small letters without accents
LETTERS = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "þ": "th"}
    | {
        letter: plain
        for plain, letters in {
            "a": "ⱥ", "b": "ƀɓƃ", "c": "ȼƈ", "d": "đðɖɗƌ", "e": "ɇəǝɛ", "f": "ƒ", "g": "ǥɠ", "h": "ħɦⱨ", "i": "ıɨ",
            "j": "ɉȷ", "k": "ƙĸ", "l": "łƚⱡ", "n": "ŋɲƞ", "o": "øɵɔ", "p": "ƥᵽ", "r": "ɍɽ", "s": "ʂ", "t": "ŧƭʈⱦ",
            "u": "ʉ", "v": "ʋ", "w": "ⱳ", "y": "ƴɏ", "z": "ƶȥ",
        }.items()
        for letter in letters
    }
)  # fmt: skip
CHUNK = 1000


def upgrade() -> None:
    connection = op.get_bind()
    step = sa.table("scheduled_step", sa.column("id"), sa.column("patient_name"), sa.column("revision"))
    name = sa.table("step_name", sa.column("step"), sa.column("words"))
    last = 0
    while rows := connection.execute(
        sa.select(step.c.id, step.c.patient_name).where(step.c.id > last).order_by(step.c.id).limit(CHUNK)
    ).all():
        last = rows[-1].id
        for row in rows:
            plain = row.patient_name.translate(LETTERS)
            if plain == row.patient_name:
                continue
            revised = {"patient_name": plain, "revision": step.c.revision + 1}
            connection.execute(sa.update(step).where(step.c.id == row.id).values(revised))
            connection.execute(sa.delete(name).where(name.c.step == row.id))
            further = [{"step": row.id, "words": words} for words in {*plain.split("=")[1:]} - {""}]
            if further:
                connection.execute(sa.insert(name), further)
