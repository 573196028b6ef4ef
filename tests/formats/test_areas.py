"""The table of areas."""

import csv
from pathlib import Path

from fcclip.formats.areas import Areas
from tests.formats.samples import HEIGHT, WIDTH, only, sample


def test_rows_of_all_pictures(tmp_path: Path) -> None:
    writer = Areas(tmp_path)
    writer.add(sample(), "a.jpg")
    writer.add(only("semantic"), "b.jpg")
    (path,) = writer.finish()
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["image"], row["name"]) for row in rows[:4]] == [
        ("a.jpg", "cat"),
        ("a.jpg", "traffic light"),
        ("a.jpg", "sky"),
        ("b.jpg", "wall"),
    ]
    assert rows[2]["area"] == str(12 * WIDTH)
    assert float(rows[2]["share"]) == 12 / HEIGHT
    assert (rows[2]["kind"], rows[2]["score"], rows[2]["x1"]) == ("stuff", "0.7500", "64")
    assert rows[3]["score"] == ""
