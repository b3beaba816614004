"""From a scanner to a PACS, from there to the node, and back into the study: Orthanc, DCMTK, one real prediction."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pydicom
import pytest
import requests
from pydicom.dataset import Dataset

from lesionsplit.serve.jobs import State
from lesionsplit.serve.predicting import COMMAND

ORTHANC = next(filter(None, map(shutil.which, ("Orthanc", "/usr/sbin/Orthanc"))), None)
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
if ORTHANC is None or not PLUGIN.exists() or shutil.which("storescu") is None:
    pytest.skip("Orthanc, its DICOMweb plugin or DCMTK is not installed", allow_module_level=True)

Series = Callable[..., list[Path]]

ROUTE = """
function OnStableSeries(seriesId, tags, metadata)
  if tags['Modality'] == 'CT' then RestApiPost('/modalities/lesionsplit/store', seriesId) end
end
"""


@pytest.fixture
def orthanc(tmp_path: Path, tools: ModuleType) -> Iterator[tuple[str, int, int]]:
    """A running Orthanc that routes CT series: its address, its DICOM port, the port that it routes to."""
    http, dicom, node = (tools.free_port() for _ in range(3))
    folder = tmp_path / "orthanc"
    folder.mkdir()
    (folder / "route.lua").write_text(ROUTE)
    settings = {
        "StorageDirectory": str(folder),
        "IndexDirectory": str(folder),
        "Plugins": [str(PLUGIN)],
        "LuaScripts": [str(folder / "route.lua")],
        "StableAge": 1,
        "HttpPort": http,
        "DicomPort": dicom,
        "DicomAet": "ORTHANC",
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomCheckCalledAet": False,
        "DicomModalities": {"lesionsplit": ["LESIONSPLIT", "127.0.0.1", node]},
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([str(ORTHANC), str(folder / "orthanc.json")], stdout=log, stderr=log)
    url = f"http://127.0.0.1:{http}"

    def answers() -> bool:
        try:
            return requests.get(f"{url}/system", timeout=1).ok
        except requests.ConnectionError:
            return False

    tools.until(answers)
    yield url, dicom, node
    process.terminate()
    process.wait(20)


def storescu(port: int, paths: list[Path]) -> None:
    subprocess.run(["storescu", "-R", "-aec", "ORTHANC", "127.0.0.1", str(port), *map(str, paths)], check=True)


def objects(url: str, modality: str) -> list[Dataset]:
    """What an archive has of a modality, over QIDO-RS and WADO-RS."""
    found = []
    for series in requests.get(f"{url}/dicom-web/series", params={"Modality": modality}, timeout=10).json():
        study, uid = series["0020000D"]["Value"][0], series["0020000E"]["Value"][0]
        metadata = requests.get(f"{url}/dicom-web/studies/{study}/series/{uid}/metadata", timeout=10).json()
        found += [Dataset.from_json(one) for one in metadata]
    return found


def instance(url: str, uid: str, path: Path) -> Dataset:
    """A whole object, by Orthanc's own interface."""
    (found,) = requests.post(
        f"{url}/tools/find", json={"Level": "Instance", "Query": {"SOPInstanceUID": uid}}, timeout=10
    ).json()
    path.write_bytes(requests.get(f"{url}/instances/{found}/file", timeout=30).content)
    return pydicom.dcmread(path)


def test_results_are_in_the_study_and_valid(
    start: Any,
    orthanc: tuple[str, int, int],
    make: ModuleType,
    tmp_path: Path,
    tools: ModuleType,
) -> None:
    url, dicom, port = orthanc
    node = start(
        {
            "dicom": {"port": port},
            "model": {"threads": 1},
            "send": [{"kind": "stow", "url": f"{url}/dicom-web", "timeout_s": 20.0}],
        },
        COMMAND,
    )
    chest = make.chest()
    paths = make.make_series(tmp_path / "chest", SeriesNumber=1)
    storescu(dicom, paths)
    job = tools.until(lambda: next(iter(node.node.jobs.having(State.DONE, State.FAILED)), None), 180)
    assert (job.state, job.reason, job.sender) == (State.DONE, "", "ORTHANC")
    study = pydicom.dcmread(paths[0]).StudyInstanceUID
    uids = {}
    for modality in ("SEG", "SR", "OT"):
        (found,) = objects(url, modality)
        assert (found.StudyInstanceUID, found.PatientID) == (study, "P-4711")
        uids[modality] = found.SOPInstanceUID
        path = tmp_path / f"{modality}.dcm"
        instance(url, found.SOPInstanceUID, path)
        if shutil.which("dciodvfy"):
            run = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
            assert [line for line in (run.stdout + run.stderr).splitlines() if line.startswith("Error")] == []
    segmentation = pydicom.dcmread(tmp_path / "SEG.dcm")
    assert _lungs_of(segmentation, paths) > 0.8 * np.count_nonzero(chest.lungs)
    # The results themselves are not routed to the node, and sent twice they are there once
    assert node.post(f"/series/{job.series}/retry").ok
    tools.until(lambda: node.node.jobs.get(job.number).ended != job.ended and node.job(State.DONE, job.number), 180)
    assert {modality: objects(url, modality)[0].SOPInstanceUID for modality in uids} == uids
    assert [len(objects(url, modality)) for modality in uids] == [1, 1, 1]
    assert len(node.node.jobs.search()) == 1


def test_a_study_of_many_kinds(
    start: Any, orthanc: tuple[str, int, int], series: Series, make: ModuleType, tmp_path: Path, tools: ModuleType
) -> None:
    """Two series and two dates of a patient, a localiser, a dose report: what is no chest comes back as it went."""
    url, dicom, port = orthanc
    node = start(
        {
            "dicom": {"port": port},
            "series": {"min_slices": 3},
            "send": [{"kind": "stow", "url": f"{url}/dicom-web"}],
        }
    )
    localiser = series("localiser", 3)[:2]
    report = pydicom.dcmread(series("dose", 4)[0])
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.67"
    report.Modality = "SR"
    report.save_as(tmp_path / "dose.dcm")
    everything = [
        *series("lung", 1),
        *series("bones", 2),
        *localiser,
        tmp_path / "dose.dcm",
        *series("empty abdomen", 5),
        *series("next year", 6, StudyID="2", StudyDate="20210401"),
    ]
    storescu(dicom, everything)
    deadline = time.monotonic() + 180
    while len(node.node.jobs.having(State.DONE)) < 5:
        assert time.monotonic() < deadline, node.node.jobs.search()
        time.sleep(0.1)
    reasons = {job.header["description"]: job.reason for job in node.node.jobs.search()}
    assert reasons == {
        "lung": "",
        "bones": "",
        "next year": "",
        "localiser": "not predicted: 2 slices; min_slices is 3",
        "empty abdomen": "no lung was found",
    }
    studies = [one.StudyInstanceUID for one in objects(url, "OT")]
    assert len(studies) == 3
    assert len(set(studies)) == 2


def _lungs_of(segmentation: Dataset, paths: list[Path]) -> int:
    """Voxels of both lungs in frames that refer to a slice of the series."""
    slices = {str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in paths}
    count = 0
    for frame, item in zip(segmentation.pixel_array, segmentation.PerFrameFunctionalGroupsSequence, strict=True):
        source = item.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        assert source in slices
        if item.SegmentIdentificationSequence[0].ReferencedSegmentNumber in (1, 2):
            count += int(np.count_nonzero(frame))
    return count
