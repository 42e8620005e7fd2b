"""The public port's TLS: one context, whose certificate is read again when its file changes."""

import ssl
from pathlib import Path

from service.errors import StartError
from service.files import Watched


class Tls:
    """A context for new connections; those that stand keep what they began with."""

    def __init__(self, cert: Path, key: Path) -> None:
        """
        Raises:
            StartError: the files do not do.
        """
        self._cert, self._key = cert, key
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._files = Watched(cert, key)
        problem = self._load()
        if problem is not None:
            raise StartError(problem)

    def renew(self) -> str | None:
        """Read the files again if they changed, as cert-manager changes them; what is wrong with them, if anything."""
        return self._load() if self._files.changed() else None

    def _load(self) -> str | None:
        try:
            # First into a context that nobody uses: a certificate without its key costs a context the key it has.
            for context in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), self.context):
                context.load_cert_chain(self._cert, self._key)
        except ssl.SSLError as error:
            return f"tls_cert_file and tls_key_file: not a certificate and its key ({error.reason or 'unreadable'})"
        except OSError as error:
            return f"tls_cert_file and tls_key_file: {error.strerror or 'unreadable'}"
        return None
