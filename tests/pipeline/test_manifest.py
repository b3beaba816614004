"""When a case counts as done: files that were replaced, damaged manifests, two calls at a time, full disks."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from lesionsplit.atomic import PREFIX
from lesionsplit.errors import DataError
from lesionsplit.io.archive import FileEntry
from lesionsplit.io.case import Case
from lesionsplit.io.cases import find_cases
from lesionsplit.io.dicom.pseudonyms import Pseudonyms
from lesionsplit.pipeline import fingerprint
from lesionsplit.pipeline.case_folder import MANIFEST, whole_or_not
from lesionsplit.pipeline.manifest import Manifests
from lesionsplit.pipeline.options import PredictOptions
from lesionsplit.pipeline.predictor import Predictor
from lesionsplit.pipeline.volume_result import VolumeResult
from lesionsplit.pipeline.volumes import predict_volumes
from lesionsplit.runtime import Runtime

SMALL, SPACING = (48, 40, 6), (8.0, 8.0, 20.0)
FAST = PredictOptions(lung_method="thresholds", write=("numbers",))

Writer = Callable[[Case], None]


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor.load(runtime=Runtime(device="cpu"))


@pytest.fixture
def scan(tmp_path: Path) -> Case:
    """A case whose files hold no scan: they are only looked at."""
    return case(tmp_path / "in" / "scan.nii", "the scan")


def case(path: Path, text: str) -> Case:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return Case(kind="nifti", path=path, name=path.stem, entries=(FileEntry(path),), where=str(path))


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory, make: ModuleType, predictor: Predictor) -> VolumeResult:
    ct = make.make_nifti(tmp_path_factory.mktemp("ct") / "ct.nii", make.chest(SMALL).hu, affine=make.affine_of(SPACING))
    found = predictor.predict(ct, lung_method="thresholds")
    assert isinstance(found, VolumeResult)
    return found


@pytest.fixture
def write(tmp_path: Path, predictor: Predictor, result: VolumeResult) -> Callable[..., None]:
    """Does a case: its files and its manifest."""

    def do(case: Case, manifests: Manifests | None = None, text: str = "numbers") -> None:
        manifests = manifests or Manifests(tmp_path / "out", predictor, FAST)
        folder = tmp_path / "out" / manifests.name(case)
        with whole_or_not(folder, lambda: manifests.check(case)) as temporary:
            (temporary / "report.json").write_text(text)
            manifests.write(temporary, case, result, {}, {"name": case.name, "lung_ml": "1"})

    return do


def done(out: Path, predictor: Predictor, case: Case, options: PredictOptions = FAST) -> bool:
    return Manifests(out, predictor, options).has(case, overwrite=False)


def test_another_scan_of_the_same_size_and_time_in_its_place_is_seen(
    tmp_path: Path, predictor: Predictor, scan: Case, write: Writer
) -> None:
    """As from an archive that gives all of its files one time."""
    write(scan)
    assert done(tmp_path / "out", predictor, scan)
    before = scan.path.stat()
    (tmp_path / "other").write_text("THE SCAN")
    os.utime(tmp_path / "other", ns=(before.st_atime_ns, before.st_mtime_ns))
    (tmp_path / "other").replace(scan.path)
    assert not done(tmp_path / "out", predictor, scan)


def test_a_scan_that_was_moved_away_and_back_is_done(
    tmp_path: Path, predictor: Predictor, scan: Case, write: Writer
) -> None:
    write(scan)
    shutil.copy2(scan.path, tmp_path / "copy")
    (tmp_path / "copy").replace(scan.path)  # another file of the same name, size, time and content
    assert done(tmp_path / "out", predictor, scan)


def test_content_is_read_only_where_a_file_was_replaced(
    tmp_path: Path, predictor: Predictor, scan: Case, write: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second call over thousands of cases must be quick."""
    write(scan)
    monkeypatch.setattr("lesionsplit.pipeline.manifest.content", lambda _: pytest.fail("read"))
    assert done(tmp_path / "out", predictor, scan)


def test_a_scan_that_changes_while_it_is_read_is_done_again(
    tmp_path: Path, predictor: Predictor, scan: Case, write: Callable[..., None]
) -> None:
    manifests = Manifests(tmp_path / "out", predictor, FAST)
    assert not manifests.has(scan, overwrite=False)
    before = scan.path.stat()
    scan.path.write_text("THE SCAN")
    os.utime(scan.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    write(scan, manifests)
    assert not done(tmp_path / "out", predictor, scan)


def test_a_label_map_of_an_older_time_and_the_same_size_is_seen(
    tmp_path: Path, predictor: Predictor, scan: Case, write: Callable[..., None]
) -> None:
    mask = tmp_path / "mask.nii"
    mask.write_text("lungs")
    options = replace(FAST, lung_method=None, lungs=mask)
    write(scan, Manifests(tmp_path / "out", predictor, options))
    before = mask.stat()
    assert done(tmp_path / "out", predictor, scan, options)
    mask.write_text("LUNGS")
    os.utime(mask, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not done(tmp_path / "out", predictor, scan, options)


def test_files_beside_a_header_and_members_of_an_archive_count(make: ModuleType, tmp_path: Path) -> None:
    for name in ("ct.mhd", "ct.raw", "ct.txt", "other.raw"):
        (tmp_path / name).write_text(name)
    make.make_itk(tmp_path / "ct.mhd", make.chest((24, 20, 6)).hu)
    assert [path.name for path in fingerprint.files_of([FileEntry(tmp_path / "ct.mhd")])] == ["ct.mhd", "ct.raw"]
    one, two = ([FileEntry(tmp_path / "ct.mhd", member)] for member in ("a", "b"))
    assert fingerprint.fingerprint(one) != fingerprint.fingerprint(two)
    assert fingerprint.content([tmp_path / "ct.mhd"]) != fingerprint.content([tmp_path / "ct.raw"])
    split = [tmp_path / "one", tmp_path / "two"]
    split[0].write_bytes(b"ab")
    split[1].write_bytes(b"c")
    before = fingerprint.content(split)
    split[0].write_bytes(b"a")
    split[1].write_bytes(b"bc")
    assert fingerprint.content(split) != before


DAMAGE = ["", "{", "[]", "null", "\xff", "[" * 100_000, '{"settings": 1, "input": {}}', '{"settings": {}}']
DAMAGE += [
    '{"settings": {}, "input": {}, "files": [""]}',
    '{"settings": {}, "input": {}, "files": [".."]}',
    '{"settings": {}, "input": {}, "files": ["../../in/scan.nii"]}',
    '{"settings": {}, "input": {}, "files": [1]}',
    '{"settings": {}, "input": {}, "row": {"name": null}}',
    '{"settings": {}, "input": {}, "row": {"lung_ml": "nan"}}',
]


@pytest.mark.parametrize("text", DAMAGE, ids=range(len(DAMAGE)))
def test_a_damaged_manifest_is_one_line_of_its_case_alone(
    tmp_path: Path, predictor: Predictor, scan: Case, write: Writer, text: str
) -> None:
    other = case(tmp_path / "in" / "other.nii", "another scan")
    for one in (scan, other):
        write(one)
    (tmp_path / "out" / "scan" / MANIFEST).write_text(text, encoding="latin1")
    manifests = Manifests(tmp_path / "out", predictor, FAST)
    with pytest.raises(DataError, match=r"manifest.json: is damaged, or not a manifest of lesionsplit; choose another"):
        manifests.has(scan, overwrite=False)
    assert not manifests.has(scan, overwrite=True)
    assert manifests.has(other, overwrite=False)
    assert [row["name"] for row in manifests.others([])] == ["other"]
    with whole_or_not(tmp_path / "out" / "scan", lambda: None) as folder:
        (folder / MANIFEST).write_text('{"new": 1}')
    assert (tmp_path / "out" / "scan" / MANIFEST).read_text() == '{"new": 1}'


def test_a_damaged_manifest_stops_no_other_case(tmp_path: Path, make: ModuleType, predictor: Predictor) -> None:
    for name in ("a", "b"):
        make.make_nifti(tmp_path / "in" / f"{name}.nii", make.chest(SMALL).hu, affine=make.affine_of(SPACING))
    cases = find_cases([tmp_path / "in"], recursive=True).cases
    damaged, whole = (tmp_path / "out" / one.name / MANIFEST for one in cases)
    damaged.parent.mkdir(parents=True)
    damaged.write_text("junk")
    outcome = predict_volumes(cases, tmp_path / "out", predictor, FAST)
    assert (outcome.done, outcome.failed, outcome.skipped) == (1, 1, 0)
    assert whole.is_file()
    assert damaged.read_text() == "junk"
    assert predict_volumes(cases, tmp_path / "out", predictor, FAST, overwrite=True).done == 2


def test_every_mutant_of_a_manifest_is_done_not_done_or_one_line(
    tmp_path: Path, predictor: Predictor, scan: Case, write: Writer
) -> None:
    write(scan)
    file = tmp_path / "out" / "scan" / MANIFEST
    whole = file.read_bytes()
    for at in range(0, len(whole), 31):
        file.write_bytes(whole[:at] + b"\xfe" + whole[at + 1 :] if at % 2 else whole[:at])
        try:
            manifests = Manifests(tmp_path / "out", predictor, FAST)
            assert manifests.has(scan, overwrite=False) in (True, False)
            assert all(isinstance(cell, str) for row in manifests.others([]) for cell in row.values())
        except DataError as error:
            assert "\n" not in str(error)  # noqa: PT017


def test_a_masked_call_never_takes_the_name_of_another(
    tmp_path: Path, predictor: Predictor, write: Callable[..., None]
) -> None:
    patient = case(tmp_path / "in" / "Quixano.nii", "the scan")
    write(patient)
    masked = Manifests(tmp_path / "out", predictor, replace(FAST, pseudonyms=Pseudonyms()))
    assert masked.name(patient).startswith("case-")
    write(patient, masked)
    assert Manifests(tmp_path / "out", predictor, replace(FAST, pseudonyms=Pseudonyms())).has(patient, overwrite=False)


def test_a_call_with_other_settings_at_the_same_time_replaces_nothing(
    tmp_path: Path, predictor: Predictor, scan: Case, write: Callable[..., None]
) -> None:
    """Both have looked before either had written."""
    one = Manifests(tmp_path / "out", predictor, FAST)
    other = Manifests(tmp_path / "out", predictor, replace(FAST, intensity="hu"))
    write(scan, one, "first")
    with pytest.raises(DataError, match="holds results made with different settings: intensity; choose another folder"):
        write(scan, other, "second")
    assert (tmp_path / "out" / "scan" / "report.json").read_text() == "first"


def test_another_scan_of_the_same_name_at_the_same_time_replaces_nothing(
    tmp_path: Path, predictor: Predictor, scan: Case, write: Callable[..., None]
) -> None:
    other = case(tmp_path / "elsewhere" / "scan.nii", "another scan")
    both = [Manifests(tmp_path / "out", predictor, FAST) for _ in range(2)]
    write(scan, both[0], "first")
    with pytest.raises(DataError, match=f"holds results of another scan, {scan.path}; choose another folder"):
        write(other, both[1], "second")
    assert (tmp_path / "out" / "scan" / "report.json").read_text() == "first"


def twins(folder: Path) -> tuple[Case, Case]:
    """Different scans of two patients, as from an archive: of one file name, size and time."""
    one, two = case(folder / "p1" / "ct.nii", "one patient"), case(folder / "p2" / "ct.nii", "two patient")
    os.utime(two.path, ns=(0, one.path.stat().st_mtime_ns))
    assert fingerprint.fingerprint(one.entries) == fingerprint.fingerprint(two.entries)
    return one, two


def test_another_patient_whose_file_is_of_the_same_name_size_and_time_replaces_nothing(
    tmp_path: Path, predictor: Predictor, write: Callable[..., None]
) -> None:
    one, two = twins(tmp_path)
    late = Manifests(tmp_path / "out", predictor, FAST)
    assert not late.has(two, overwrite=False)
    write(one, text="first")
    with pytest.raises(DataError, match=f"ct: holds results of another scan, {one.path}; choose another folder"):
        done(tmp_path / "out", predictor, two)
    with pytest.raises(DataError, match=f"ct: holds results of another scan, {one.path}; choose another folder"):
        write(two, late, "second")
    assert (tmp_path / "out" / "ct" / "report.json").read_text() == "first"


def test_scans_of_the_same_file_name_size_and_time_keep_folders_of_their_own(
    tmp_path: Path, predictor: Predictor, write: Callable[..., None]
) -> None:
    one, two = (replace(each, name=name) for each, name in zip(twins(tmp_path), ("ct-1", "ct-2"), strict=True))
    for each in (one, two):
        write(each)
    manifests = Manifests(tmp_path / "out", predictor, FAST)
    assert [manifests.name(each) for each in (one, two)] == ["ct-1", "ct-2"]
    assert all(manifests.has(each, overwrite=False) for each in (one, two))
    (tmp_path / "moved").mkdir()
    moved = replace(two, path=Path(shutil.copy2(two.path, tmp_path / "moved")), name="moved", where="moved")
    moved = replace(moved, entries=(FileEntry(moved.path),))
    assert manifests.name(moved) == "ct-2"
    assert done(tmp_path / "out", predictor, moved)


def test_a_label_map_that_vanishes_while_its_case_is_predicted_is_no_fault_of_the_folder(
    tmp_path: Path, predictor: Predictor, scan: Case, write: Callable[..., None]
) -> None:
    """What is stored is the content of the map at the time of the first look, before it was read."""
    mask = tmp_path / "mask.nii"
    mask.write_text("lungs")
    options = replace(FAST, lung_method=None, lungs=mask)
    manifests = Manifests(tmp_path / "out", predictor, options)
    assert not manifests.has(scan, overwrite=False)
    mask.unlink()
    write(scan, manifests)
    mask.write_text("lungs")
    assert done(tmp_path / "out", predictor, scan, options)


def test_names_in_a_manifest_that_are_no_files_hold_nobody_up(tmp_path: Path) -> None:
    folder = tmp_path / "scan"
    (folder / "mine").mkdir(parents=True)
    names = ["mine", "gone", 300 * "n", "a\0b"]
    (folder / MANIFEST).write_text(json.dumps({"settings": {}, "input": {}, "files": names}))
    with whole_or_not(folder, lambda: None) as temporary:
        (temporary / MANIFEST).write_text('{"new": 1}')
    assert sorted(path.name for path in folder.iterdir()) == [MANIFEST, "mine"]
    assert (folder / MANIFEST).read_text() == '{"new": 1}'


@pytest.mark.parametrize("suffix", [".mhd", ".nii.gz"])
@pytest.mark.parametrize("at_once", [False, True])
def test_scans_that_are_named_by_a_uid_are_each_predicted(
    tmp_path: Path, make: ModuleType, predictor: Predictor, suffix: str, at_once: bool
) -> None:
    scans = [tmp_path / "in" / f"1.3.6.{number}{suffix}" for number in (1, 2)]
    for seed, path in enumerate(scans):
        path.parent.mkdir(exist_ok=True)
        hu = make.chest(SMALL, seed=seed).hu
        (make.make_itk if suffix == ".mhd" else make.make_nifti)(path, hu, affine=make.affine_of(SPACING))
    found = [0, 0]
    for inputs in [scans] if at_once else [[path] for path in scans]:
        cases = find_cases(inputs, recursive=False).cases
        outcome = predict_volumes(cases, tmp_path / "out", predictor, FAST)
        found = [found[0] + outcome.done, found[1] + outcome.skipped]
    assert found == [2, 0]
    assert len(list((tmp_path / "out").glob("*/report.json"))) == 2


def test_the_same_case_in_two_calls_at_a_time_is_of_one_of_them(
    tmp_path: Path, predictor: Predictor, scan: Case, write: Callable[..., None]
) -> None:
    both = [Manifests(tmp_path / "out", predictor, FAST) for _ in range(2)]
    for manifests, text in zip(both, ("first", "second"), strict=True):
        write(scan, manifests, text)
    assert (tmp_path / "out" / "scan" / "report.json").read_text() == "second"
    assert done(tmp_path / "out", predictor, scan)


@pytest.mark.parametrize("step", ["sync_all", "check"])
def test_an_error_before_files_are_moved_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    folder = tmp_path / "out" / "scan"
    with whole_or_not(folder, lambda: None) as temporary:
        (temporary / "report.json").write_text("before")
        (temporary / MANIFEST).write_text("{}")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    message = rf"^{folder}: cannot be written \(No space left on device\); choose another"
    check = full if step == "check" else lambda: None
    with pytest.raises(DataError, match=message), whole_or_not(folder, check) as temporary:  # noqa: PT012
        (temporary / "report.json").write_text("after")
        if step == "sync_all":
            monkeypatch.setattr("lesionsplit.pipeline.case_folder.sync_all", full)
    monkeypatch.undo()
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"report.json": "before", MANIFEST: "{}"}
    assert not list((tmp_path / "out").glob(f"{PREFIX}*"))


@pytest.mark.parametrize("killed_at", ["lesion.nii.gz", "report.json"])
def test_a_process_killed_while_it_replaces_results_leaves_no_stale_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: str
) -> None:
    """The next call still knows what the one before the killed one had written."""
    folder = tmp_path / "scan"

    def write(*names: str) -> None:
        with whole_or_not(folder, lambda: None) as temporary:
            for name in names:
                (temporary / name).write_text("")
            text = json.dumps({"settings": {}, "input": {}, "files": names})
            (temporary / MANIFEST).write_text(text)

    write("lesion.nii.gz", "report.json")
    removed = Path.unlink

    def unlink(path: Path, *, missing_ok: bool = False) -> None:
        if path == folder / killed_at:
            raise KeyboardInterrupt
        removed(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    with pytest.raises(KeyboardInterrupt):
        write("score.nii.gz")
    monkeypatch.undo()
    write("score.nii.gz")
    assert sorted(path.name for path in folder.iterdir()) == [MANIFEST, "score.nii.gz"]


@pytest.mark.parametrize("killed_at", range(4))
def test_a_process_killed_between_two_files_leaves_nothing_to_other_kinds_of_files(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    predictor: Predictor,
    scan: Case,
    result: VolumeResult,
    killed_at: int,
) -> None:
    """Its files are of a threshold that the next call does not have."""
    out = tmp_path / "out"
    folder = out / "scan"

    def write(options: PredictOptions, *names: str) -> None:
        manifests = Manifests(out, predictor, options)
        with whole_or_not(folder, lambda: manifests.check(scan)) as temporary:
            for name in names:
                (temporary / name).write_text("")
            manifests.write(temporary, scan, result, {}, {"name": "scan", "lung_ml": "1"})

    (folder / "corrected.nii.gz").parent.mkdir(parents=True)
    (folder / "corrected.nii.gz").write_text("of the user")
    moved, replace_file = [], Path.replace

    def killed(path: Path, target: Path) -> Path:
        if target.parent == folder:
            if len(moved) == killed_at:
                raise KeyboardInterrupt
            moved.append(target)
        return replace_file(path, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write(replace(FAST, write=("lesion", "score")), "lesion.nii.gz", "score.nii.gz")
    monkeypatch.undo()
    other = replace(FAST, write=("lungs",))
    assert not done(out, predictor, scan, other)
    assert list(Manifests(out, predictor, other).others(())) == []
    write(other, "lungs.nii.gz")
    assert sorted(path.name for path in folder.iterdir()) == ["corrected.nii.gz", "lungs.nii.gz", MANIFEST]
    assert done(out, predictor, scan, other)


def test_files_are_on_the_disk_before_the_manifest_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power failure could leave a manifest of files that are empty."""
    seen: list[list[str]] = []
    folder = tmp_path / "scan"
    monkeypatch.setattr(
        "lesionsplit.pipeline.case_folder.sync_all",
        lambda temporary: seen.append(sorted(path.name for path in temporary.iterdir())),
    )
    with whole_or_not(folder, lambda: None) as temporary:
        (temporary / MANIFEST).write_text("{}")
        (temporary / "score.nii.gz").write_bytes(gzip.compress(b"score"))
    assert seen == [[MANIFEST, "score.nii.gz"]]
    assert json.loads((folder / MANIFEST).read_text()) == {}


def test_a_replaced_scan_is_predicted_again_to_the_end(tmp_path: Path, make: ModuleType, predictor: Predictor) -> None:
    affine = make.affine_of(SPACING)
    ct = make.make_nifti(tmp_path / "in" / "ct.nii", make.chest(SMALL).hu, affine=affine)
    other = make.make_nifti(tmp_path / "ct.nii", make.chest(SMALL, seed=1).hu, affine=affine)
    facts = ct.stat()
    assert other.stat().st_size == facts.st_size
    os.utime(other, ns=(facts.st_atime_ns, facts.st_mtime_ns))

    def run() -> tuple[int, int]:
        outcome = predict_volumes(find_cases([ct], recursive=False).cases, tmp_path / "out", predictor, FAST)
        return outcome.done, outcome.skipped

    assert run() == (1, 0)
    before = (tmp_path / "out" / "ct" / "report.json").read_text()
    assert run() == (0, 1)
    other.replace(ct)
    assert run() == (1, 0)
    assert (tmp_path / "out" / "ct" / "report.json").read_text() != before
