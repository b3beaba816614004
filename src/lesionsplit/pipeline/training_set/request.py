"""What a user asks of `prepare`, checked, and carried out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lesionsplit.errors import DataError, SettingsError
from lesionsplit.io.case import Case
from lesionsplit.io.cases import FoundCases, find_cases
from lesionsplit.pipeline.training_set.plan import Planned, matched, read_labels_table, with_masks
from lesionsplit.pipeline.training_set.prepare import Prepared, prepare
from lesionsplit.pipeline.training_set.recipes import planned_by
from lesionsplit.pipeline.training_set.slices import Choice
from lesionsplit.runtime import Runtime

CONTOURED = ("any", "majority")
"""Annotators of a scan with contours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareRequest:
    """The options of the command, as they are called there."""

    inputs: tuple[Path, ...]
    out: Path
    labels: Path | None = None
    recipe: str | None = None
    masks: tuple[str, ...] = ()
    labels_from: str | None = None
    drop_unseen: str | None = None
    min_lesion_mm2: float = 10.0
    every: int = 1
    min_lung_cm2: float = 10.0
    split: tuple[float, float, float] = (0.6, 0.2, 0.2)
    seed: int = 0
    lungs: Path | None = None
    lung_method: str = "network"
    intensity: str = "auto"
    one_label: bool = False
    overwrite: bool = False

    def run(self, runtime: Runtime) -> Prepared:
        """Find the scans, read the labels, and write the data set.

        Raises:
            SettingsError: options contradict each other.
            DataError: labels name no scan, or nothing can be written.
        """
        self._check()
        folders = self._folders()
        choice = self._choice()
        roots = [path for path in self.inputs if path.is_dir()]
        planned: list[Planned] = []
        inputs: Sequence[Path] = self.inputs
        if self.recipe is not None:
            recipe, planned = planned_by(self.recipe, self.inputs[0])
            choice = replace_default(choice, recipe.labels_from)
            inputs = self.inputs if recipe.dicom else [Path(one.scan) for one in planned]
        elif self.labels is not None:
            planned = read_labels_table(self.labels, roots, labelled=choice.labels_from is None)
        found = find_cases(inputs, recursive=True)
        cases = _scans(found, planned, [*folders.values(), *([self.lungs] if self.lungs else [])])
        if not cases:
            raise DataError(found.refused[0] if found.refused else f"{self.inputs[0]}: holds no scan but images")
        for line in found.refused:
            runtime.warn(line)
        if found.images:
            runtime.warn(f"{found.images[0].parent}: {len(found.images)} images are left out; see lesionsplit lungs")
        if planned:
            known = matched(
                planned, cases, [*self.inputs, *([self.labels.parent] if self.labels else [])], found.refused
            )
        else:
            known = {case.name: Planned(scan=case.name, place=case.where) for case in cases}
        known = {
            case.name: with_masks(known[case.name], case, folders, self.lungs) for case in cases if case.name in known
        }
        self._check_maps(choice, folders, list(known.values()))
        return prepare(
            cases,
            known,
            self.out,
            choice,
            runtime,
            refused=found.refused,
            overwrite=self.overwrite,
            one_label=self.one_label,
        )

    def _check(self) -> None:
        if self.labels is not None and self.recipe is not None:
            raise SettingsError("--labels and --recipe contradict each other; give one")
        if self.recipe is not None and len(self.inputs) > 1:
            raise SettingsError(f"--recipe {self.recipe}: reads one folder, and {len(self.inputs)} are given")
        if self.labels is None and self.recipe is None and self.labels_from is None:
            raise SettingsError(
                "nothing says what the scans are; give --labels, --recipe, or --masks and --labels-from"
            )
        if self.labels_from and self.drop_unseen:
            raise SettingsError(
                "--labels-from labels each slice by its mask, so --drop-unseen does not apply; leave it out"
            )
        if abs(sum(self.split) - 1) > 1e-6 or self.split[0] <= 0:
            said = " ".join(f"{one:g}" for one in self.split)
            raise SettingsError(
                f"--split is {said}; allowed: three fractions whose sum is 1, of which train is above 0"
            )

    def _folders(self) -> dict[str, Path]:
        folders: dict[str, Path] = {}
        for one in self.masks:
            name, _, folder = one.partition("=")
            if not name.isidentifier() or not Path(folder).is_dir() or not folder:
                raise SettingsError(f"--masks is {one!r}; allowed: NAME=FOLDER, where NAME has letters, digits and _")
            folders[name] = Path(folder)
        if self.lungs is not None and not self.lungs.is_dir():
            raise DataError(f"{self.lungs}: is no folder; give one with NAME.nii.gz for each scan")
        return folders

    def _check_maps(self, choice: Choice, folders: Mapping[str, Path], known: Sequence[Planned]) -> None:
        """Refuse masks that are of no scan, and annotators without masks."""
        found = sorted({name for one in known for name in (*one.masks, *(CONTOURED if one.contours else ()))})
        for option, name in (("--labels-from", choice.labels_from), ("--drop-unseen", choice.drop_unseen)):
            if name is not None and name not in found:
                said = ", ".join(found) or "none"
                raise SettingsError(f"{option} is {name!r}, but no masks of that annotator are given; found: {said}")
        for name, folder in folders.items():
            if name not in found:
                raise DataError(
                    f"--masks {name}={folder}: no file there is called as a scan; name them as the scans are"
                )
        if self.lungs is not None and all(one.lungs is None for one in known):
            raise DataError(f"--lungs {self.lungs}: no file there is called as a scan; name them as the scans are")

    def _choice(self) -> Choice:
        return Choice(
            every=self.every,
            min_lung_cm2=self.min_lung_cm2,
            labels_from=self.labels_from,
            min_lesion_mm2=self.min_lesion_mm2,
            drop_unseen=self.drop_unseen,
            lung_method=self.lung_method,  # type: ignore[arg-type]
            intensity=self.intensity,  # type: ignore[arg-type]
            seed=self.seed,
            split=self.split,
        )


def replace_default(choice: Choice, labels_from: str | None) -> Choice:
    """A choice with the labels of a recipe, unless the user chose an annotator."""
    import msgspec

    return msgspec.structs.replace(choice, labels_from=choice.labels_from or labels_from)


def _scans(found: FoundCases, planned: Sequence[Planned], folders: Sequence[Path]) -> list[Case]:
    """The cases that are not masks or lungs themselves."""
    maps = {path.resolve() for one in planned for path in (*one.masks.values(), one.lungs) if path is not None}
    within = [folder.resolve() for folder in folders]

    def is_map(case: Case) -> bool:
        path = case.path.resolve()
        return path in maps or any(path.is_relative_to(folder) for folder in within)

    return [case for case in found.cases if not is_map(case)]
