"""A process that answers as `lesionsplit.serve.worker` does, without a network, in no time.

The series description says what it is to do: "crash" ends it, "slow" takes three seconds, "endless" a minute, "bad"
blames the series, "full" the machine, "odd" the program, "empty" finds no lung. Anything else gets a secondary capture
with derived UIDs.
"""

import hashlib
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from queue import SimpleQueue

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

lines: SimpleQueue = SimpleQueue()


def read() -> None:
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)


threading.Thread(target=read, daemon=True).start()
settings = json.loads(lines.get())
if settings["weights"] == "broken":
    print(json.dumps({"refused": "broken: cannot be read; give another file"}), flush=True)
    sys.exit()
print(json.dumps({"ready": "0" * 64, "threshold": 0.5}), flush=True)


def answer(job: dict) -> dict:
    name, out = job["name"], Path(job["out"])
    if "crash" in name:
        os.kill(os.getpid(), signal.SIGKILL)
    if "slow" in name:
        time.sleep(3)
    if "endless" in name:
        time.sleep(60)
    for word, fault in (("bad", "series"), ("full", "machine"), ("odd", "program")):
        if word in name:
            return {"error": f"a {word} thing", "fault": fault}
    if "empty" in name:
        return {"nothing": "no lung was found"}
    summary = out / "node.json"
    if summary.exists() and json.loads(summary.read_text())["fingerprint"] == job["fingerprint"]:
        return {"found": json.loads(summary.read_text())}
    numbers = {"lesion_ml": 12.25, "opacity_percent": 1.5, "lesions": 2.0}
    found = {"fingerprint": job["fingerprint"], "numbers": numbers, "notes": ["odd mask"], "kinds": ["page", "sc"]}
    out.mkdir(parents=True, exist_ok=True)
    source = Path(job["source"])
    if source.is_dir():
        first = pydicom.dcmread(sorted(source.glob("*.dcm"))[0], stop_before_pixels=True)
        picture = Dataset()
        picture.file_meta = FileMetaDataset()
        picture.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        uid = generate_uid(entropy_srcs=["picture", job["fingerprint"]])
        picture.SOPClassUID = picture.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
        picture.SOPInstanceUID = picture.file_meta.MediaStorageSOPInstanceUID = uid
        picture.StudyInstanceUID, picture.PatientID = first.StudyInstanceUID, first.PatientID
        picture.PatientName, picture.Modality = first.PatientName, "OT"
        picture.SeriesInstanceUID = generate_uid(entropy_srcs=["series of picture", job["fingerprint"]])
        picture.ContentDate = time.strftime("%Y%m%d", time.gmtime(job["made"]))
        picture.Rows = picture.Columns = 2
        picture.SamplesPerPixel, picture.PhotometricInterpretation = 1, "MONOCHROME2"
        picture.BitsAllocated = picture.BitsStored = 8
        picture.HighBit, picture.PixelRepresentation = 7, 0
        picture.PixelData = hashlib.sha256(job["fingerprint"].encode()).digest()[:4]
        picture["PixelData"].VR = "OB"
        picture.save_as(out / "pictures.dcm", enforce_file_format=True)
    (out / "report.html").write_text("<!doctype html><title>report</title><p>A report</p>")
    summary.write_text(json.dumps(found))
    return {"found": found}


while True:
    print(json.dumps(answer(json.loads(lines.get()))), flush=True)
