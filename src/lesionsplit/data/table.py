"""The slices of a data set: `slices.csv`, two folders named `normal` and `lesion`, or the layout of MVTec AD."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

from lesionsplit.errors import DataError
from lesionsplit.images import SUFFIXES, read_header

Label = Literal["normal", "lesion"]
Split = Literal["train", "val", "test"]

TABLE = "slices.csv"

SPLITS = "splits.csv"
"""The table of a run whose data set came without splits."""

MASK_PREFIX = "mask_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """One slice of the table."""

    image: Path
    label: Label
    split: Split
    series: str
    """Slices of one series are near-duplicates: they are in one split, and the bootstrap resamples them together."""

    masks: Mapping[str, Path] = field(default_factory=dict)
    """By annotator. Empty for normal slices, and for every slice of a weakly supervised training."""

    lungs: Path | None = None
    """A mask of the image's shape: its lungs, or the region that counts. Without one, chest CT must be lung-masked:
    black outside the lungs."""

    region: Literal["lungs", "region"] = "lungs"
    """What messages call this mask."""

    healthy: Path | None = None
    """The slice without its lesion; only known for a phantom."""

    position: int = 0
    """Row of the table, from 0. Rows of a series are in the order of its slices: consecutive rows are neighbours."""

    place: str
    """The place in the table, for messages: `slices.csv line 2 (images/1.png)`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The slices of a data set, in the order of the table."""

    root: Path
    slices: tuple[Slice, ...]

    divided: bool = True
    """False: the data set came without splits, or without val."""

    def select(self, wanted: Callable[[Slice], bool]) -> Table:
        """The slices for which ``wanted`` is true."""
        return replace(self, slices=tuple(filter(wanted, self.slices)))

    def split(self, split: Split) -> Table:
        """The slices of one split.

        Raises:
            DataError: there are none.
        """
        chosen = self.select(lambda row: row.split == split)
        if not chosen.slices:
            found = sorted({row.split for row in self.slices})
            raise DataError(f"{self.root}: has no slice in split {split!r}; found: {', '.join(found)}")
        return chosen

    def labelled(self, label: Label) -> Table:
        """The slices of one label; may be empty."""
        return self.select(lambda row: row.label == label)

    def around(self, rows: Iterable[Slice]) -> Table:
        """The given slices and their neighbours in the series, in the order of the table."""
        near = {(row.series, row.position + step) for row in rows for step in (-1, 0, 1)}
        return self.select(lambda row: (row.series, row.position) in near)

    def without_masks(self) -> Table:
        """The same slices with image labels only, for weakly supervised training."""
        return replace(self, slices=tuple(replace(row, masks={}, healthy=None) for row in self.slices))

    def supervised_by(self, annotator: str) -> Table:
        """The same slices with the masks of one annotator for the lesion slices of train, and no others.

        This is for the training of a supervised upper bound.

        Raises:
            DataError: in train there are no masks of the annotator, or not for all lesion slices.
        """

        def outlined(row: Slice) -> bool:
            return row.split == "train" and row.label == "lesion"

        wanted = self.select(outlined)
        for row in wanted:
            if annotator in row.masks:
                continue
            if annotator not in wanted.annotators:
                found = ", ".join(wanted.annotators) or "none"
                raise DataError(
                    f"{self.root}: has no masks of annotator {annotator!r} in split 'train'; found: {found}; choose "
                    "another with --set method.annotator=NAME, or train a method that needs no masks"
                )
            raise DataError(
                f"{row.place}: has no mask of annotator {annotator!r}; found: {', '.join(row.masks) or 'none'}; a "
                "supervised training needs one for every lesion slice of train: add it, or leave the slice out"
            )
        keep = [{annotator: row.masks[annotator]} if outlined(row) else {} for row in self]
        return replace(
            self,
            slices=tuple(replace(row, masks=masks, healthy=None) for row, masks in zip(self, keep, strict=True)),
        )

    @property
    def annotators(self) -> tuple[str, ...]:
        """All annotators with at least one mask, in the order of the columns."""
        return tuple(dict.fromkeys(name for row in self.slices for name in row.masks))

    def __len__(self) -> int:
        return len(self.slices)

    def __iter__(self) -> Iterator[Slice]:
        return iter(self.slices)


def read_table(folder: Path) -> Table:
    """Read and check a data set's table, given by its folder or itself; files must exist, masks have the right shape.

    ``folder`` holds one of

    * `slices.csv` (columns image, label, split, series, and any of lungs or region, healthy and mask_<annotator>);
    * the folders `normal` and `lesion`, and where there are masks of lesions, `mask` with images of the names of those
      in `lesion`; where there are masks of regions, `region/normal` and `region/lesion`;
    * the folders `train/good`, `test/good`, `test/DEFECT` and `ground_truth/DEFECT` with NAME_mask.png, the layout of
      MVTec AD.

    Raises:
        DataError: a file or field is missing, a label or split is unknown, a mask has a wrong shape, a series is in
            two splits, or an image is listed twice; the message names the row.
    """
    table = folder / TABLE
    if folder.name in (TABLE, SPLITS) and folder.is_file():
        folder, table = folder.parent, folder
    if not folder.is_dir():
        problem = "is a file" if folder.exists() else "no such folder"
        raise DataError(
            f"{folder}: {problem}; give a folder with {TABLE}, with normal/ and lesion/, or with train/good/"
        )
    divided = table.is_file()
    if divided:
        rows = _rows_of_csv(folder, table)
    elif any((folder / label).is_dir() for label in get_args(Label)):
        rows = _rows_of_folders(folder)
    elif (folder / "train" / "good").is_dir():
        rows = _rows_of_mvtec(folder)
    else:
        raise DataError(
            f"{folder}: has neither {TABLE} nor the folders normal/ and lesion/, nor train/good/ as MVTec AD has"
        )
    _check(folder, rows)
    rows = [replace(row, position=number) for number, row in enumerate(rows)]
    return Table(root=folder, slices=tuple(rows), divided=divided)


def _rows_of_csv(folder: Path, path: Path) -> list[Slice]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restkey="", strict=True)
            columns = tuple(reader.fieldnames or ())
            missing = {"image", "label", "split", "series"} - set(columns)
            if missing:
                raise DataError(
                    f"{path}: lacks the column{'s' * (len(missing) > 1)} {', '.join(sorted(missing))}; "
                    f"found: {', '.join(columns) or 'nothing'}"
                )
            return [_row(folder, row, f"{path} line {reader.line_num}") for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read ({error}); it must be comma-separated UTF-8 text") from None


def _row(folder: Path, row: Mapping[str, str | None], line: str) -> Slice:
    def text(column: str) -> str:
        value = (row[column] or "").strip()
        if not value:
            raise DataError(f"{place}: has no {column}")
        return value

    def choice(column: str, allowed: tuple[str, ...]) -> str:
        if text(column) not in allowed:
            raise DataError(f"{place}: {column} is {text(column)!r}; allowed: {', '.join(allowed)}")
        return text(column)

    def optional(column: str) -> Path | None:
        value = (row.get(column) or "").strip()
        return folder / value if value else None

    place = line
    image = text("image")
    place = f"{line} ({image})"
    if "" in row:
        raise DataError(f"{place}: has more fields than the header has columns")
    return Slice(
        image=folder / image,
        label=choice("label", get_args(Label)),  # type: ignore[arg-type]
        split=choice("split", get_args(Split)),  # type: ignore[arg-type]
        series=text("series"),
        masks={
            column.removeprefix(MASK_PREFIX): folder / path.strip()
            for column, path in row.items()
            if column.startswith(MASK_PREFIX) and path and path.strip()
        },
        lungs=optional("region") or optional("lungs"),
        region="region" if optional("region") else "lungs",
        healthy=optional("healthy"),
        place=place,
    )


def _rows_of_folders(folder: Path) -> list[Slice]:
    rows = []
    for label in get_args(Label):
        images = list_images(folder / label) if (folder / label).is_dir() else []
        if not images:
            here = "is empty" if (folder / label).is_dir() else "is missing"
            if label == "normal":
                raise DataError(f"{folder / label}: {here}; allowed: images of {', '.join(SUFFIXES)}")
        names = {path.stem for path in images}
        masks = _named(folder / "mask", names) if label == "lesion" else {}
        regions = _named(folder / "region" / label, names)
        rows += [
            Slice(
                image=path,
                label=label,
                split="train",
                series=f"{label}/{path.name}",
                masks={"mask": masks[path.stem]} if path.stem in masks else {},
                lungs=regions.get(path.stem),
                region="region" if path.stem in regions else "lungs",
                place=str(path),
            )
            for path in images
        ]
    return rows


def _rows_of_mvtec(folder: Path) -> list[Slice]:
    """The images of a category of MVTec AD; those of train are normal, and so is test/good."""
    rows = [_of_mvtec(path, "normal", "train", {}) for path in list_images(folder / "train" / "good")]
    kinds = sorted(path for path in (folder / "test").iterdir() if path.is_dir()) if (folder / "test").is_dir() else []
    for kind in kinds:
        label: Label = "normal" if kind.name == "good" else "lesion"
        images = list_images(kind)
        names = {path.stem for path in images}
        masks = {} if label == "normal" else _named(folder / "ground_truth" / kind.name, names, "_mask")
        rows += [
            _of_mvtec(path, label, "test", {"mask": masks[path.stem]} if path.stem in masks else {}) for path in images
        ]
    return rows


def _of_mvtec(path: Path, label: Label, split: Split, masks: Mapping[str, Path]) -> Slice:
    series = f"{split}/{path.parent.name}/{path.name}"
    return Slice(image=path, label=label, split=split, series=series, masks=masks, place=str(path))


def _named(folder: Path, names: Set[str], ending: str = "") -> dict[str, Path]:
    """The masks of a folder that may not exist, by their names without an ending.

    Raises:
        DataError: there is no image of the name of a mask.
    """
    if not folder.is_dir():
        return {}
    found = {path.stem.removesuffix(ending): path for path in list_images(folder)}
    if unknown := sorted(found.keys() - names):
        wanted = f"{unknown[0]}; a mask is called as its image" + (f", with {ending}" if ending else "")
        raise DataError(f"{found[unknown[0]]}: there is no image {wanted}")
    return found


def list_images(folder: Path) -> list[Path]:
    """The images in a folder by name, without hidden files and subfolders."""
    return sorted(
        path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )


def _check(folder: Path, rows: list[Slice]) -> None:
    if not rows:
        raise DataError(f"{folder}: has no slice; allowed: images of {', '.join(SUFFIXES)}")
    split_of: dict[str, Slice] = {}
    first_of: dict[Path, Slice] = {}
    for row in rows:
        first = first_of.setdefault(row.image, row)
        if first is not row:
            raise DataError(f"{row.place}: is already listed at {first.place}; remove one of them")
        other = split_of.setdefault(row.series, row)
        if other.split != row.split:
            raise DataError(
                f"{row.place}: series {row.series!r} is in split {row.split!r} here and in {other.split!r} at "
                f"{other.place}; slices of one series are near-duplicates, keep them in one split"
            )
        _check_files(row)


def _check_files(row: Slice) -> None:
    for kind, path in {"image": row.image, row.region: row.lungs, "healthy": row.healthy}.items():
        if path is not None and not path.is_file():
            raise DataError(f"{row.place}: {kind} {path} is missing")
    if not row.masks and row.lungs is None:
        return
    try:
        frame = read_header(row.image)[:2]
        if row.lungs is not None and (shape := read_header(row.lungs)[:2]) != frame:
            raise DataError(
                f"{row.region} {row.lungs} {'have' if row.region == 'lungs' else 'has'} {shape[0]} x {shape[1]} pixels "
                f"and the image {frame[0]} x {frame[1]}; {row.region} must have the image's shape"
            )
        for annotator, path in row.masks.items():
            shape = read_header(path)[:2]
            if not _same_frame(frame, shape):
                raise DataError(
                    f"mask {path} has {shape[0]} x {shape[1]} pixels and the image {frame[0]} x {frame[1]}; a mask "
                    f"of {annotator} must have the image's shape, or divide it or be divided by it evenly"
                )
    except DataError as error:
        raise DataError(f"{row.place}: {error}") from None


def _same_frame(image: tuple[int, int], mask: tuple[int, int]) -> bool:
    """Whether one shape is an integer multiple of the other, the same on both axes."""
    large, small = max(image, mask), min(image, mask)
    factor = large[0] // small[0]
    return large == (small[0] * factor, small[1] * factor)
