"""What arrives by C-STORE."""

from __future__ import annotations

import logging
import ssl
from io import BytesIO
from typing import Any, Final

from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from pynetdicom.transport import ThreadedAssociationServer

from lesionsplit.errors import SettingsError
from lesionsplit.serve.instances import ConflictError, IgnoredError, NoRoomError, Store
from lesionsplit.serve.metrics import Metrics
from lesionsplit.serve.settings import DicomSettings, Tls

logger = logging.getLogger(__name__)

SUCCESS: Final = 0x0000
OUT_OF_RESOURCES: Final = 0xA700
CANNOT_UNDERSTAND: Final = 0xC000
DUPLICATE: Final = 0x0111

SYNTAXES: Final = [
    "1.2.840.10008.1.2.1",  # explicit, little endian
    "1.2.840.10008.1.2",  # implicit
    "1.2.840.10008.1.2.4.70",  # JPEG lossless
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.80",  # JPEG-LS
    "1.2.840.10008.1.2.4.90",  # JPEG 2000, lossless
    "1.2.840.10008.1.2.5",  # RLE
]


def listen(settings: DicomSettings, store: Store, metrics: Metrics) -> ThreadedAssociationServer:
    """Accept slices in the background; ``shutdown`` of what is returned ends that.

    Objects that are no CT images are accepted and not kept, so that a rule that routes whole studies works.

    Raises:
        SettingsError: the port cannot be used.
    """
    entity = AE(ae_title=settings.aet)
    entity.require_called_aet = True
    entity.require_calling_aet = list(settings.calling_aets)
    entity.maximum_associations = settings.associations
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = settings.timeout_s
    entity.add_supported_context(Verification)
    for context in AllStoragePresentationContexts:
        entity.add_supported_context(context.abstract_syntax or "", SYNTAXES)

    def take(event: evt.Event) -> int:
        sender = str(event.assoc.requestor.ae_title).strip()
        try:
            content = BytesIO(event.encoded_dataset())
            job = store.add(content, sender=sender, expected=str(getattr(event.request, "AffectedSOPInstanceUID", "")))
        except IgnoredError:
            metrics.arrived("ignored")
        except ConflictError:
            metrics.arrived("conflict")
            return DUPLICATE
        except NoRoomError as error:
            logger.warning("a slice is refused: %s", error)
            metrics.arrived("no room")
            return OUT_OF_RESOURCES
        except Exception as error:
            logger.warning("an object is refused: %s", error)
            metrics.arrived("refused")
            return CANNOT_UNDERSTAND
        else:
            logger.debug("job %d: %d files", job.number, job.instances)
            metrics.arrived("stored")
        return SUCCESS

    sizes = _Sizes(settings.largest_object_mb << 20)
    handlers: list[Any] = [
        (evt.EVT_C_STORE, take),
        (evt.EVT_PDU_RECV, sizes.add),
        (evt.EVT_DIMSE_RECV, sizes.begin),
        (evt.EVT_CONN_CLOSE, sizes.begin),
    ]
    try:
        server = entity.start_server(
            (settings.bind, settings.port),
            block=False,
            evt_handlers=handlers,
            ssl_context=server_context(settings.tls) if settings.tls else None,
        )
    except OSError as error:
        raise SettingsError(
            f"[dicom] {settings.bind}:{settings.port} cannot be used ({error.strerror}); is another node running?"
        ) from None
    assert server is not None  # noqa: S101  it does not block
    return server


class _Sizes:
    """Ends an association whose object is larger than allowed; pynetdicom has it in memory until it is whole."""

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self._bytes: dict[int, int] = {}

    def begin(self, event: evt.Event) -> None:
        """An object is whole, or the connection has ended."""
        self._bytes.pop(id(event.assoc), None)

    def add(self, event: evt.Event) -> None:
        """A part of an object has arrived."""
        if not isinstance(event.pdu, P_DATA_TF):
            return
        size = self._bytes.get(id(event.assoc), 0) + int(event.pdu.pdu_length)
        self._bytes[id(event.assoc)] = size
        if size > self._largest:
            logger.warning("an object of more than %d MB is refused; largest_object_mb", self._largest >> 20)
            self._bytes.pop(id(event.assoc), None)
            event.assoc.abort()


def server_context(tls: Tls) -> ssl.SSLContext:
    """What a listener shows, and whom it asks for a certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tls.cert, tls.key)
    if tls.ca:
        context.load_verify_locations(tls.ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
