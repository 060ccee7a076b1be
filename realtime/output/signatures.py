"""Signed statements of what a file is, by C2PA: optional, with a certificate of the user's own.

    signer.key   the private key, which its owner alone can read
    signer.pem   the certificate and that of the authority that issued it

`run.py c2pa init` makes both; from then on every picture and video that is written is signed, where the extra
`[c2pa]` is installed. The authority is made for this one certificate and forgotten, so readers say that the
signature is whole and that they do not know the signer. Nothing is asked of a network: there is no time stamp
of an authority in it.

Source: C2PA Technical Specification 2.2, "Trust model" for what a certificate must say, "Actions" for
c2pa.created.
"""

import datetime
import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from engines import atomic_file
from engines.environment import settings_folder
from engines.errors import OutputError, SettingsError
from realtime.output.marks import CREATOR_TOOL, SOURCE_TYPE
from realtime.process.log import warn
from realtime.process.program import typed

KEY, CERTIFICATE = "signer.key", "signer.pem"
VALID_DAYS = 3650
KEY_USES = (  # that a certificate may grant, by their names in x509.KeyUsage
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
SIGNED_SUFFIXES = {".mp4", ".mov", ".jpg", ".jpeg", ".png", ".webp"}
INSTALL = "run `pip install -e '.[c2pa]'`"
# No picture of the picture, which would be larger than the rest; and nothing from a network.
SETTINGS = {
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
}


@dataclass(frozen=True)
class Signature:
    """What a reader finds in a file."""

    state: str  # "Valid", "Trusted" or "Invalid"
    signer: str  # the certificate's name
    source_type: str  # IPTC's digital source type of the first action
    problems: tuple[str, ...]  # codes of what failed


def is_installed() -> bool:
    """Whether the package that signs is there."""
    return find_spec("c2pa") is not None


def certificate_folder() -> Path:
    """Where the key and the certificate are kept."""
    return settings_folder() / "c2pa"


def sign(path: Path) -> bool:
    """Signs a file that is whole, in place; returns whether it did.

    Without a certificate, or for a kind of file that cannot be signed, nothing is done. Where signing fails
    the file is as it was, and a warning is logged.
    """
    folder = certificate_folder()
    if path.suffix.lower() not in SIGNED_SUFFIXES or not (folder / KEY).is_file():
        return False
    if not is_installed():
        warn(f"{path} is not signed, as the package c2pa-python is missing: {INSTALL}.")
        return False
    import c2pa

    try:
        with atomic_file.replacing(path) as signed:
            signed.unlink()  # the library makes it
            with _signer(folder) as signer, c2pa.Builder(_manifest(path), _context()) as builder:
                builder.sign_file(path, signed, signer)
    except (c2pa.C2paError, OSError) as error:
        warn(
            f"{path} is written and not signed ({error}): run `{typed('c2pa init --replace')}` if it goes on."
        )
        return False
    return True


def read_signature(path: Path) -> Signature | None:
    """The signature of a file; None where it has none. Raises OutputError where it cannot be read."""
    if not is_installed():
        raise OutputError("Signatures cannot be read without the package c2pa-python", INSTALL)
    import c2pa

    try:
        with c2pa.Reader(path, context=_context()) as reader:
            content = json.loads(reader.json())
            state = str(reader.get_validation_state())
    except c2pa.C2paError.ManifestNotFound:
        return None
    except (c2pa.C2paError, OSError) as error:
        raise OutputError(f"{path} cannot be read ({error})", "name a picture or a video") from error
    manifest = content["manifests"][content["active_manifest"]]
    actions = [
        action
        for assertion in manifest.get("assertions", [])
        if assertion["label"].startswith("c2pa.actions")
        for action in assertion["data"]["actions"]
    ]
    problems = [one["code"] for one in content.get("validation_status", [])]
    return Signature(
        state=state,
        signer=str(manifest.get("signature_info", {}).get("common_name", "")),
        source_type=next((action.get("digitalSourceType", "") for action in actions), ""),
        problems=tuple(problems),
    )


def make_certificate(name: str, replace: bool = False) -> Path:
    """Makes a key and a certificate for `name`; returns the certificate's file.

    Raises SettingsError where there are some already, or they cannot be made.
    """
    folder = certificate_folder()
    if not is_installed():
        raise SettingsError("A certificate cannot be made without the package c2pa-python", INSTALL)
    if (folder / KEY).exists() and not replace:
        raise SettingsError(
            f"There is a certificate at {folder / CERTIFICATE} already", "replace it with --replace"
        )
    key, certificates = _issue(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        atomic_file.write_bytes(folder / KEY, key, atomic_file.PRIVATE)
        atomic_file.write_bytes(folder / CERTIFICATE, certificates)
    except OSError as error:
        raise SettingsError(
            f"The certificate cannot be kept in {folder} ({error.strerror})", "make room there"
        ) from error
    return folder / CERTIFICATE


def _context():
    """A c2pa.Context of SETTINGS."""
    import c2pa

    return c2pa.Context(c2pa.Settings.from_dict(SETTINGS))


def _signer(folder: Path):
    """A c2pa.Signer of the kept certificate. Raises OSError, C2paError."""
    import c2pa

    key, certificates = (folder / KEY).read_bytes(), (folder / CERTIFICATE).read_bytes()
    info = c2pa.C2paSignerInfo(c2pa.C2paSigningAlg.ES256, certificates, key, None)
    return c2pa.Signer.from_info(info)


def _manifest(path: Path) -> dict:
    """What is stated of a file."""
    return {
        "claim_generator_info": [{"name": CREATOR_TOOL}],
        "title": path.name,
        "assertions": [
            {
                "label": "c2pa.actions.v2",
                "data": {
                    "actions": [
                        {
                            "action": "c2pa.created",
                            "digitalSourceType": SOURCE_TYPE,
                            "softwareAgent": {"name": CREATOR_TOOL},
                        }
                    ]
                },
            }
        ],
    }


def _issue(name: str) -> tuple[bytes, bytes]:
    """A new key, and the chain of its certificate, in PEM: C2PA takes no certificate that signs itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def named(common_name: str) -> x509.Name:
        return x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, CREATOR_TOOL),
                x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            ]
        )

    def usage(*uses: str) -> x509.KeyUsage:
        return x509.KeyUsage(**{use: use in uses for use in KEY_USES})

    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority_name = named(f"{name}, own authority")
    now = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=5)  # clocks differ
    authority_id = x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key())
    new = (
        x509.CertificateBuilder()
        .issuer_name(authority_name)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
    )
    authority = (
        new.subject_name(authority_name)
        .public_key(authority_key.public_key())
        .serial_number(x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage("key_cert_sign", "crl_sign"), critical=True)
        .add_extension(authority_id, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    certificate = (
        new.subject_name(named(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage("digital_signature"), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority_id), critical=False
        )
        .sign(authority_key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem = serialization.Encoding.PEM
    return private, certificate.public_bytes(pem) + authority.public_bytes(pem)
