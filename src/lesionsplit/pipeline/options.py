"""What can be chosen about a prediction, and which inputs a choice applies to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from lesionsplit.data.kind import ImageKind
from lesionsplit.errors import SettingsError
from lesionsplit.io.dicom.pseudonyms import Pseudonyms
from lesionsplit.lungs.method import LungMethod
from lesionsplit.measurements.settings import MeasurementSettings
from lesionsplit.volumes.intensity import ReadOptions

IntensityName: TypeAlias = Literal["auto", "hu", "8-bit"]

UserMask = Path | npt.NDArray[np.generic]
"""A label map: a file on the input's grid, a folder with NAME.nii.gz of each case, or an array."""

FILES: Final[dict[str, str]] = {
    "score": "score.nii.gz",
    "lesion": "lesion.nii.gz",
    "lungs": "lungs.nii.gz",
    "healthy": "healthy.nii.gz",
    "seg": "segmentation.dcm",
    "map": "score.dcm",
    "sr": "report.dcm",
    "sc": "pictures.dcm",
    "pdf": "report.pdf.dcm",
    "numbers": "report.json",
    "page": "report.html",
}
"""What can be written of a volume, and the file's name; ``numbers`` includes report.csv."""

UNUSUAL: Final = ("map", "pdf")
USUAL: Final = tuple(kind for kind in FILES if kind not in UNUSUAL)
"""What is written unless the user chooses. A parametric map has 32 bits for each voxel, not compressed: 110 MB where
score.nii.gz has 4, and few viewers show it. A PDF needs reportlab, and report.html has more."""

SLICE_FILES: Final = ("score", "mask", "healthy", "overlay")
"""What can be written of an image: NAME_score.png and so on."""

DICOM_FILES: Final = ("seg", "map", "sr", "sc", "pdf")
"""They refer to the slices they were made from, and so need a volume that was read from DICOM."""

OTHER_FILES: Final = " ".join(f"--write {kind}" for kind in FILES if kind not in DICOM_FILES)
"""What a user types to get all files but these."""

VOLUMES_ONLY: Final[dict[str, str]] = {
    "force": "--force",
    "lung_method": "--lung-method",
    "lungmask_weights": "--lungmask-weights",
    "lobes": "--lobes",
    "measurements": "--ground-glass and --consolidation",
    "write": "--write",
    "pseudonyms": "--deidentify",
    "omit_empty_frames": "--omit-empty-frames",
    "all_findings": "--all-findings",
}
"""Options that an image has no use for, as the command line calls them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PredictOptions:
    """What can be chosen about a prediction.

    Raises:
        SettingsError: two options contradict each other.
    """

    intensity: IntensityName = "auto"
    """What values mean. ``auto``: volumes are in Hounsfield units, images are lung-masked. ``8-bit``: grey on an
    unknown scale, of a volume, or of an image of the whole chest."""

    force: bool = False
    """Continue despite recoverable inconsistencies in the files of a volume."""

    lungs: UserMask | None = None
    """The user's own lung mask; by default lungs are found."""

    regions: UserMask | None = None
    """The user's masks of the region that counts, for weights of region ``mask``."""

    lung_method: LungMethod | None = None
    """How lungs are found where no mask is given; ``network`` by default."""

    lungmask_weights: Path | None = None
    """Weights of the lungmask package, for ``lung_method="lungmask"``."""

    lobes: UserMask | None = None
    """Label map of the lobes; without it there is no severity score."""

    measurements: MeasurementSettings = field(default_factory=MeasurementSettings)
    write: tuple[str, ...] | None = None
    """Files to write of a volume, of `FILES`; by default those of `USUAL` that can be made of it, with ``all`` all."""

    pseudonyms: Pseudonyms | None = None
    """Given: no patient name, identifier, date, UID or path in any file."""

    all_findings: bool = False
    """Whether findings that are probably normal count as lesion, see `inference.left_out`."""

    omit_empty_frames: bool = False
    """Whether DICOM segmentations leave out slices in which a segment is empty: smaller files, which some viewers do
    not show."""

    def __post_init__(self) -> None:
        """Check what does not depend on an input."""
        if self.lungs is not None and (self.lung_method or self.lungmask_weights):
            raise SettingsError("a lung mask is given, so --lung-method and --lungmask-weights do not apply; give one")
        if self.lungmask_weights is not None and self.lung_method != "lungmask":
            raise SettingsError("--lungmask-weights applies to --lung-method lungmask only; leave it out, or add that")
        for name, value, allowed in (
            ("intensity", self.intensity, get_args(IntensityName)),
            ("lung_method", self.lung_method, (None, *get_args(LungMethod))),
        ):
            if value not in allowed:
                said = ", ".join(str(one) for one in allowed if one is not None)
                raise SettingsError(f"{name} is {value!r}; allowed: {said}")
        for name, given in (("lungs", self.lungs), ("lobes", self.lobes), ("regions", self.regions)):
            if given is not None and not isinstance(given, (Path, np.ndarray)):
                raise SettingsError(f"{name} is a {type(given).__name__}; allowed: a path or an array")
        if not isinstance(self.measurements, MeasurementSettings):
            raise SettingsError("measurements: give MeasurementSettings, or ground_glass and consolidation")
        if unknown := set(self.write or ()) - {*FILES, "all"}:
            raise SettingsError(f"cannot write {', '.join(sorted(unknown))}; allowed: {', '.join(FILES)}, all")
        if self.omit_empty_frames and not self.makes("seg", "sr"):
            raise SettingsError("--omit-empty-frames applies to the DICOM segmentation only; add --write seg")

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> PredictOptions:
        """Options by name, as Python users give them.

        Raises:
            SettingsError: there is no option of a name.
        """
        given = dict(options)
        ranges = {name: given.pop(name) for name in ("ground_glass", "consolidation") if name in given}
        if ranges:
            given["measurements"] = MeasurementSettings(**ranges)
        if given.pop("deidentify", False):
            given["pseudonyms"] = Pseudonyms()
        if "write" in given:
            raise SettingsError("write is not an option of predict; give it to Result.save")
        allowed = [one.name for one in fields(cls) if one.name != "write"]
        if unknown := [name for name in given if name not in allowed]:
            raise SettingsError(f"unknown option {unknown[0]}; allowed: {', '.join(allowed)}")
        for name in ("lungs", "lobes", "regions", "lungmask_weights"):
            if isinstance(given.get(name), str):
                given[name] = Path(given[name])
        return cls(**given)

    def changed(self, **options: Any) -> PredictOptions:
        """The same options with some replaced."""
        return replace(self, **options)

    @property
    def reading(self) -> ReadOptions:
        """How a volume is read."""
        return ReadOptions(intensity="grey" if self.intensity == "8-bit" else self.intensity, force=self.force)

    @property
    def deidentified(self) -> bool:
        """Whether results must not identify the patient."""
        return self.pseudonyms is not None

    def check_kind(self, kind: ImageKind) -> None:
        """Refuse options that weights for a kind of images have no use for.

        Raises:
            SettingsError: naming the option.
        """
        if kind.of_lungs:
            if self.regions is not None:
                raise SettingsError("--regions: these weights are for chest CT; give lung masks with --lungs")
            return
        if self.lungs is not None:
            raise SettingsError(
                f"--lungs: these weights are for images of region {kind.region}; "
                + ("leave it out" if kind.region == "whole" else "give the masks of regions with --regions")
            )
        if self.intensity != "auto":
            raise SettingsError(f"--intensity: these weights are for images of region {kind.region}; leave it out")
        if (self.regions is None) == (kind.region == "mask"):
            raise SettingsError(
                "--regions: these weights need a mask of the region of each image; give the folder of the masks"
                if kind.region == "mask"
                else "--regions: these weights are for whole images; leave it out"
            )

    def check_image(self, name: str) -> None:
        """Refuse options that have no effect on an image.

        Raises:
            SettingsError: naming the option.
        """
        usual = PredictOptions()
        for key, option in VOLUMES_ONLY.items():
            if key != "measurements" and getattr(self, key) != getattr(usual, key):
                raise SettingsError(f"{name}: is an image, and {option} applies to volumes only; leave it out")
        if self.measurements != usual.measurements:
            raise SettingsError(f"{name}: is an image, and {VOLUMES_ONLY['measurements']} apply to volumes only")
        if self.intensity == "hu":
            raise SettingsError(f"{name}: is an image, which has no HU; allowed for --intensity: auto, 8-bit")

    def check_volume(self, name: str, *, no_dicom: str = "", hu: bool | None = None) -> None:
        """Refuse options that have no effect on a volume of this kind.

        Args:
            name: of the volume, for the message.
            no_dicom: why no DICOM object can be made of it; empty where one can.
            hu: whether its values are HU; by default as the options say.

        Raises:
            SettingsError: naming the option.
        """
        wanted = [kind for kind in DICOM_FILES if kind in self.named]
        if no_dicom and wanted:
            raise SettingsError(
                f"{name}: {no_dicom}, so {', '.join(wanted)} cannot be made of it; allowed here: {OTHER_FILES}"
            )
        if self.omit_empty_frames and (no_dicom or not self.makes("seg", "sr")):
            raise SettingsError(f"{name}: gets no DICOM segmentation, so --omit-empty-frames does not apply")
        usual = MeasurementSettings()
        ranges = (self.measurements.ground_glass, self.measurements.consolidation)
        hu = self.intensity != "8-bit" if hu is None else hu
        if not hu and ranges != (usual.ground_glass, usual.consolidation):
            raise SettingsError(f"{name}: is not in HU, so --ground-glass and --consolidation do not apply")
        if not hu and self.all_findings:
            raise SettingsError(f"{name}: is not in HU, so nothing is left out and --all-findings does not apply")

    @property
    def named(self) -> tuple[str, ...]:
        """The `FILES` that the user asks for one by one."""
        return () if self.write is None or "all" in self.write else self.write

    @property
    def kinds(self) -> tuple[str, ...]:
        """The files to write of a volume, as far as they can be made of it."""
        if not self.write:
            return USUAL
        return self.named or tuple(kind for kind in FILES if kind != "pdf" or find_spec("reportlab"))

    def makes(self, *kinds: str) -> bool:
        """Whether one of some `FILES` is asked for."""
        return not set(kinds).isdisjoint(self.kinds)

    def left_out(self, no_dicom: str) -> tuple[str, ...]:
        """A note on the DICOM objects that nobody asked for by name and that cannot be made."""
        if not no_dicom or self.named:
            return ()
        return (f"DICOM objects are left out: {no_dicom}",)
