"""What can go wrong, as one small tree.

- InferkitError
    - ParameterError   what was asked makes no sense, or cannot be done on this machine
    - DatasetError     files or manifest are not what they should be
        - UnfinishedError  a data set's making or copying was begun and could not be finished
    - ReadError        storage did not deliver the bytes
        - ThrottledError   an object store wanted fewer requests, again and again
        - BrokenTransferError  a connection ended amid an answer, or an answer has another length, again and again
        - CertificateError     an object store's certificate is not trusted
        - ReplacedError    an object is another one than when reading began
    - CredentialError  an object store does not take the credentials, or they have expired
    - DeviceError      memory, a copy, a stream or an event failed
        - NoDeviceError    no process of ours can open a GPU
    - ModelError       an ONNX graph cannot be built or adapted
    - EngineError      inference cannot start or failed
    - RankError        a measuring process died, hung or was stopped
    - PeerError        a program to compare with is missing, fails, or has nothing to compare
    - RecordError      a notebook's record cannot be read or written

Every message says what was found, what was expected and how to fix it.
"""


class InferkitError(Exception):
    """Base of everything that inferkit raises on purpose."""


class ParameterError(InferkitError):
    """A parameter is unknown, has a wrong type or value, or asks for what this machine lacks."""


class DatasetError(InferkitError):
    """A data set's files and its description do not agree, or it cannot be made."""


class UnfinishedError(DatasetError):
    """A data set's making or copying was begun and could not be finished; what refuses to begin is no such failure."""


class ReadError(InferkitError):
    """Storage failed to deliver the bytes that a batch needs."""


class ThrottledError(ReadError):
    """An object store answered that it wants fewer requests, to every attempt."""


class BrokenTransferError(ReadError):
    """A connection ended amid an answer, or the answer has another length than what was asked for, at every attempt."""


class CertificateError(ReadError):
    """The certificate of an object store is not trusted, or is another host's."""


class ReplacedError(ReadError):
    """An object was replaced while it was read."""


class CredentialError(InferkitError):
    """Credentials are missing, refused or expired. No message holds any of them."""


class DeviceError(InferkitError):
    """Memory, a copy, a stream or an event of a device failed."""


class NoDeviceError(DeviceError):
    """A GPU cannot be opened: CUDA does not start, it is lost or not there. The next process cannot either."""


class ModelError(InferkitError):
    """An ONNX graph cannot be built, adapted or read."""


class EngineError(InferkitError):
    """An engine cannot be built or failed to infer."""


class RankError(InferkitError):
    """A measuring process could not start, died, hung or was stopped."""


class PeerError(InferkitError):
    """A program to compare with is missing, fails, or does no such work."""


class RecordError(InferkitError):
    """A record cannot be written, or a notebook holds none that can be read."""
